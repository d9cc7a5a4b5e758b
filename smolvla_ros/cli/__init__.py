"""The command line: `smolvla-ros <command>`, one module for each command."""
