#!/bin/sh
# A tree that a signal to its leader alone does not end: every child but the second ignores SIGTERM.
deaf='trap "" TERM; while :; do sleep 1; done'
sh -c "$deaf" &
sh -c "sh -c 'while :; do sleep 1; done' & wait" &
# Its parent ends at once, so it becomes a child of another process.
(sh -c "$deaf" &)
# It leaves the group and the session.
setsid sh -c "$deaf" &
# It has no variable of its own in its environment.
env -i PATH="$PATH" sh -c "$deaf" &
echo ready
wait
