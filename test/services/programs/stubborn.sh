#!/bin/sh
# Ignores the request to stop.
trap "" TERM
echo ready
while :; do sleep 1; done
