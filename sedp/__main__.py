"""`python -m sedp` is the `sedp` command."""

from sedp.cli.main import main

if __name__ == "__main__":
    main()
