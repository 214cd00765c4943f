"""What a session is made of: pure values, nothing that waits or stores."""
