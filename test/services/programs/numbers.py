# Writes numbered lines, about as many a second as its argument says, with one write each.
import os
import sys
import time

number = 0
while True:
    os.write(1, b"line %d\n" % number)
    number += 1
    time.sleep(1 / float(sys.argv[1]))
