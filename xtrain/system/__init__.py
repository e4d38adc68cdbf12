"""What everything stands on: files, isolated processes, the machine, interrupts."""
