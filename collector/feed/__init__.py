"""What clouds say of changes as they happen, and which subjects are looked at again for it. Opens no account here."""
