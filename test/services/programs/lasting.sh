#!/bin/sh
# Runs until it is ended.
echo ready
exec sleep 1000
