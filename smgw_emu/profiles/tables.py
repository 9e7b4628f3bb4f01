"""The tables of a profile and what their keys mean; values and sources are in the TOML files."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the device says of itself."""

    model: str
    manufacturer: str
    toe_version: str
    firmware_version: str
    firmware_component: str
    han_interface_version: str


class Boot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times after power-up, in seconds.

    ``dark_s``: until the end of the boot, all lamps dark and nothing served. ``restart_s``: length
    of one turn of the cyclic restart.
    """

    ready_after_s: Natural
    dark_s: Natural
    restart_s: Positive


class SecureStates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What firmware lines do differently in secure states.

    Attributes:
        silence: state after too long a time without synchronisation (requirements 2.9.2).
        application_exit: Secure State Application ends by the administrator's action, or as soon as
            its cause has gone (A6).
        boot_latched: a restart does not end Secure State Boot (SEC-08).
    """

    silence: Literal["measurement", "application"]
    application_exit: Literal["administrator", "automatic"]
    boot_latched: bool


class Firmware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Firmware update.

    Attributes:
        stale_days: age of a faulty inactive partition that ends operation (SEC-04).
        warn_days: ages at which the administrator is warned before.
        auto_fallback: a new version that does not start gives way to the old one.
    """

    stale_days: Positive
    warn_days: tuple[Positive, ...]
    auto_fallback: bool


class Leds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pulse widths in milliseconds; off time equals on time (A1, A2)."""

    pwr_boot_ms: Positive
    secure_state_ms: Positive
    tls_ms: Positive
    wakeup_ms: Positive
    wakeup_total_ms: Positive
    telegram_ms: Positive
    mobile_total_ms: Positive
    activity_ms: Positive


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS of one interface: preset, limits in seconds and payload octets (0: none), alerts.

    ``certificate_hash`` is the hash of the self-signed HAN certificate.
    """

    preset: str
    idle_s: Natural
    max_session_s: Positive
    close_s: Positive
    handshake_s: Positive
    alerts: tuple[int, ...]
    max_octets: Natural = 0
    certificate_hash: Literal["sha256", "sha384", "sha512"] = "sha256"


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of an HTTP server: octets, seconds, connections.

    ``max_uri`` and ``max_field`` (0: none) bound the target and one header field. ``status_codes``:
    every refusal is 400 (IF_GW_CON), or each has its own code (WAN, Anlage II table 12).
    """

    max_header: Positive
    max_body: Positive
    request_s: Positive
    max_connections: Positive
    strict_content_type: bool
    require_content_length: bool
    max_uri: Natural = 0
    max_field: Natural = 0
    status_codes: Literal["400", "named"] = "400"


class Wan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway in the WAN.

    ``content_protection``: bodies without CMS are refused, or taken and given too. Times in
    seconds: answer of a partner, pause before a failed channel is tried anew (doubled up to the
    maximum), random delay of the first contact, pause after which a refused message is sent again,
    notice before a certificate ends. ``dispatch_delay_s``: from the end of a period to its
    delivery. ``alive_s``: regular notification, 0: none.
    """

    content_protection: Literal["required", "optional"]
    answer_s: Positive
    retry_s: Positive
    retry_max_s: Positive
    first_delay_s: Natural
    resend_s: Positive
    expiry_notice_days: tuple[Natural, ...]
    dispatch_delay_s: Natural
    alive_s: Natural
    connect_s: Positive


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """HTTP digest authentication (RFC 2617, RFC 7616)."""

    challenge: Literal["MD5", "SHA-256"]
    accept: tuple[Literal["MD5", "SHA-256"], ...]
    nonce_life_s: Positive
    check_uri: bool
    check_nc: bool
    fail_mode: Literal["401", "empty-200", "silent"]


class M2m(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits and choices of IF_GW_CON."""

    readings_window_s: Positive
    log_max_entries: Positive
    log_level_dialect: Literal["syslog", "document"]
    filtered_last_reading_empty: bool
    profile_format: str


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Self-test schedule in seconds."""

    period_s: Positive
    lock_s: Natural
    lock_from: Literal["start", "end"]
    duration_s: Natural


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Registration of readings."""

    period_s: Positive
    tolerance_permille: Natural
    tolerance_floor_ms: Natural
    status_dialect: Literal["fnn-ptb", "ds-v2"]
    max_catch_up: Positive


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long data is kept: months for value lists and logs, days for daily values.

    ``least_months``: full billing months before the running one that no lack of space shortens.
    ``capacity_kib``: size of the store above which older lines go early. ``log_capacity_kib``:
    critical limit of the logs (SEC-03). ``warn_percent``: of a limit, told before it is reached.
    """

    values_months: Positive
    least_months: Positive
    capacity_kib: Positive
    daily_days: Positive
    log_months: Positive
    log_capacity_kib: Positive
    warn_percent: tuple[Positive, ...]


class Sml(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the SML receiver."""

    max_frame: Positive
    max_depth: Positive
    max_elements: Positive


class LmnBus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wired LMN below TLS: the one table of what DIN VDE V 0418-63-7 decides.

    That text is not public; each value names the evidence it rests on (``lmn-wired.md`` 1.2, 1.3).

    Attributes:
        baud: octets/s times ten (8N1).
        sap_first: order of the two address octets; the real frame has the address first.
        gateway_address, broadcast_address, first_address, last_address: HDLC addresses.
        special_address: below ``first_address``, accepted from a participant, never drawn.
        send_information, accept_information: longest information field.
        sap_tls, sap_sym: protocol selectors of connections.
        sap_allocation, sap_check: protocol selectors of the broadcasts.
        response_ms: for a frame's answer, counted from the end of the command.
        broadcast_ms: for all answers to an allocation.
        slots, slot_ms: of the answers to a broadcast.
        retries: commands repeated before the link is given up.
        polls, poll_pause_ms, poll_slow_ms: after so many empty polls they become slow.
        empty_ms: pause between allocations while no participant is known.
        check_ms, allocation_ms: pauses before check and allocation otherwise.
        missed_checks: silent checks after which a participant is dropped.
        reopen_ms: pause before a lost link is opened again.
        gap_ms: a frame that stops for so long is over.
        records_packed: several TLS records may share an I frame.
    """

    baud: Positive
    sap_first: bool
    gateway_address: Positive
    broadcast_address: Positive
    first_address: Positive
    last_address: Positive
    special_address: Positive
    send_information: Positive
    accept_information: Positive
    sap_tls: Positive
    sap_sym: Positive
    sap_allocation: Positive
    sap_check: Positive
    response_ms: Positive
    broadcast_ms: Positive
    slots: Positive
    slot_ms: Positive
    retries: Natural
    polls: Positive
    poll_pause_ms: Natural
    poll_slow_ms: Positive
    empty_ms: Positive
    check_ms: Positive
    allocation_ms: Positive
    missed_checks: Positive
    reopen_ms: Positive
    gap_ms: Positive
    records_packed: bool


class LmnWired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway on the wired LMN above the link.

    Attributes:
        tls_role: the gateway's part in the handshake.
        certificates: Annex B of TR-03109-1 v1.0, or the form of the Detailspezifikation v2.0.
        curve: of the keys the gateway makes for itself and for meters.
        plaintext: most octets per TLS write, so that a record fits one I frame.
        measuring_time: the value's time is its arrival, or arrival minus (refTime - valTime).
        answer_s: for the answer to a request or a pairing message.
        retry_s, retry_max_s: pause after a failed pairing or handshake, doubled up to the maximum.
        missing_s: a configured meter that is not found so long after the start is missing.
        sym_padded: the length field of our SYM messages counts the padding.
        supply_ma: what the 12 V output gives.
    """

    tls_role: Literal["client", "server"]
    certificates: Literal["annex-b", "v2"]
    curve: Literal[
        "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "secp256r1", "secp384r1"
    ]
    plaintext: Positive
    measuring_time: Literal["arrival", "ref-minus-val"]
    answer_s: Positive
    retry_s: Positive
    retry_max_s: Positive
    missing_s: Positive
    sym_padded: bool
    supply_ma: Positive


class LmnWireless(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway as a radio receiver (``lmn-wireless.md`` 0).

    Attributes:
        modes: radio modes that are heard; a frame of another one is as if nothing was sent.
        band: 868.3 MHz ("S") or 868.95 MHz ("TC") with one transceiver, or both in turn.
        alternate_s: how long each band is listened to in turn.
        formats: frame formats that are heard.
        controls: C fields that are listened to.
        security: security modes whose telegrams give values.
        tags: octets of the tag of mode 10 that are taken (ICS.WMBUS.Mode10.10).
        unauthenticated: lab switch: values of modes 0 and 5 are taken, and marked.
        measuring_time: of values outside profiles: arrival, or arrival minus DP1!.
        duplicate_s: the same telegram within this time is a repeater's, not a replay.
        fragment_s: all fragments of a message come within this time.
        heard: entries of the list of senders.
    """

    modes: tuple[Literal["S", "T", "C"], ...]
    band: Literal["S", "TC", "alternate"]
    alternate_s: Positive
    formats: tuple[Literal["A", "B"], ...]
    controls: tuple[Natural, ...]
    security: tuple[Literal[7, 10], ...]
    tags: tuple[Literal[8, 12, 16], ...]
    unauthenticated: bool
    measuring_time: Literal["arrival", "actuality"]
    duplicate_s: Natural
    fragment_s: Positive
    heard: Positive


class Wakeup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wake-up service: window, memory and rate in seconds, byte order, use without valid time."""

    window_s: Positive
    memory_s: Positive
    signature_checks: Positive
    rate_s: Positive
    byte_order: Literal["little", "big", "either"]
    without_time: bool
    transport: Literal["udp", "tcp", "both"]


class Cls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The CLS proxy.

    ``preset``: TLS towards a CLS. ``framing``: frames of SOCKS-TLS with a LEN field, or as long as
    their TLS record. ``other_methods``: a greeting that offers more than method 06 is taken, or
    refused. Seconds: until the request is complete (``request_s``), from a farewell to the end of
    TCP in SOCKS (``socks_close_s``) and without it (``close_s``); a CLS that comes back sooner than
    ``retry_s`` after a refusal is counted. ``max_channels``, ``max_per_cls``: channels at a time;
    ``max_waiting``: connections that have not named a profile yet; ``max_refused_log``: entries for
    refusals per quarter hour.
    """

    preset: str
    framing: Literal["length", "record"]
    other_methods: Literal["accept", "refuse"]
    request_s: Positive
    socks_close_s: Positive
    close_s: Positive
    retry_s: Positive
    max_channels: Positive
    max_per_cls: Positive
    max_waiting: Positive
    max_refused_log: Positive


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time synchronisation: seconds, shares in percent, drift in ppm, years of the range.

    ``invalid_after_s``: silence after which time is invalid; 0: when the worst drift may have used
    up the tolerance. ``on_deviation``: a clock beyond the tolerance waits for the administrator, or
    is corrected all the same.
    """

    smallest_period_s: Positive
    tolerance_percent: Positive
    warning_percent: Positive
    max_drift_ppm: Positive
    rtt_limit_ms: Positive
    max_step_s: Positive
    min_poll_s: Positive
    timeout_s: Positive
    first_year: Positive
    last_year: Positive
    invalid_after_s: Natural
    on_deviation: Literal["hold", "correct"]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a firmware line decides."""

    name: str
    device: Device
    boot: Boot
    secure_state: SecureStates
    firmware: Firmware
    leds: Leds
    tls: Tls
    wan_tls: Tls
    lmn_tls: Tls
    http: Http
    wan_http: Http
    wan: Wan
    digest: Digest
    m2m: M2m
    self_test: SelfTest
    registration: Registration
    retention: Retention
    sml: Sml
    lmn_bus: LmnBus
    lmn_wired: LmnWired
    lmn_wireless: LmnWireless
    wakeup: Wakeup
    cls: Cls
    time: Time
