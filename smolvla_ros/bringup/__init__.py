"""What a bring-up starts, written once, and where it runs."""
