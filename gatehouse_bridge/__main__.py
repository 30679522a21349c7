import sys

from gatehouse_bridge.program import main

if __name__ == "__main__":
    sys.exit(main())
