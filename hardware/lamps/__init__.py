"""Where lamps show: sinks take the states, ``core/leds`` decides them.

``sink`` (protocol, recording, several at once), ``pins`` (which lamp is where, TOML), ``gpio``
(lines of a GPIO chip), ``sysfs`` (LEDs the kernel has), ``trace`` (a file for wave viewers).
"""
