"""One turn on one session: which agent, under which lock, recorded how."""
