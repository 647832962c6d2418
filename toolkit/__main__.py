"""`python -m toolkit`, and `accelerate launch -m toolkit train …`."""

from toolkit.cli import main

if __name__ == "__main__":
    main()
