"""The passes, one file each: functions from a frozen `Unit` to a `Unit`."""
