#!/usr/bin/env bash
# Refuse a commit message whose title is long or ends in a period, or that has no body.
#
#     scripts/check_commit_message.sh FILE
#
# pre-commit runs it as a commit-msg hook: pre-commit install --hook-type commit-msg
set -euo pipefail
# Git leaves out comments, and everything below the line that `commit --verbose` draws.
message=$(sed -e '/^# -* >8 -*$/,$d' -e '/^#/d' "$1")
title=${message%%$'\n'*}

refuse() {
    echo "Commit message: $1" >&2
    exit 1
}

case $title in "Merge "* | "Revert "* | "fixup! "* | "squash! "*) exit 0 ;; esac
[ -n "$title" ] || refuse "the first line is empty; begin with an imperative title."
[ ${#title} -le 72 ] || refuse "the title has ${#title} characters; at most 72 are allowed."
[[ $title != *. ]] || refuse "the title ends in a period; leave it out."
body=$(sed 1d <<<"$message")
[ -z "$(head -n 1 <<<"$body")" ] || refuse "the second line is not empty; leave it blank."
[ -n "${body//[[:space:]]/}" ] || refuse "there is no body; say below the title why."
