"""What `make bench` measures, on real servers and real nodes."""
