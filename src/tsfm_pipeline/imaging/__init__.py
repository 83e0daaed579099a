"""What a volume is and what preparation does to it: geometry, labels, resampling, intensity."""
