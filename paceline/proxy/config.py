"""Every setting there is: one struct, decoded from TOML, unknown keys refused."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from paceline.scheduler.config import SchedulerConfig


class ServerConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[server]`: where the proxy listens and what it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for every interface."""
    port: int = 8000
    """TCP port to listen on; 0 lets the system choose one."""
    workers: int = 1
    """Processes that serve the port, with one scheduler among them; with two or more, there is one
    process more, which decides."""
    max_body_mb: float = 64.0
    """Largest request body in MiB; a larger one is refused with 413."""
    max_header_kb: int = 32
    """Largest request head in KiB; a larger one is refused with 431."""
    max_buffered_mb: float = 1024.0
    """Bodies held at once in MiB, waiting or being answered; beyond it requests are refused with
    503 before they are read."""
    max_connections: int = 8_000
    """Connections from clients that are served at once; one more is refused with 503."""
    max_connections_per_address: int = 4_000
    """Those of one IPv4 address, or of one /64 network of IPv6; one more is refused with 429. 0 for
    any number."""
    load_balancers: list[str] = field(default_factory=list)
    """Addresses and networks, such as `10.0.0.0/24`, to which that does not apply: what stands in
    front connects for many clients."""
    head_seconds: float = 10.0
    """Longest time for a request's head; then 408."""
    body_seconds: float = 30.0
    """Longest silence while a body is uploaded; then 408."""
    body_kb_per_second: float = 4.0
    """Slowest upload in KiB a second, on average after `body_seconds`; then 408."""
    idle_seconds: float = 30.0
    """How long a connection may wait for its next request."""
    grace_seconds: float = 0.0
    """How long new connections are still taken after SIGTERM, while `/ready` already says no: the
    time that a load balancer needs to notice."""
    drain_seconds: float = 30.0
    """How long open streams may go on after that."""
    cors_origins: list[str] = field(default_factory=list)
    """Origins such as `https://chat.example` whose pages browsers let ask, `*` for all; with none,
    nothing is said of it, and what engines say passes."""
    watch_files: bool = False
    """Reload also when this file, or a file of keys or certificates that it names, changes; SIGHUP
    always does."""


class TlsConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[tls]`: HTTPS for clients; plain HTTP without a certificate."""

    cert_file: str = ""
    """Certificate chain in PEM."""
    key_file: str = ""
    """Its private key in PEM; looked for in `cert_file` when empty."""
    client_ca_file: str = ""
    """Authorities in PEM of which clients must present a certificate (mTLS)."""


class AuthConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[auth]`: who may ask, by keys. `paceline key TENANT` makes one. Open to all without keys."""

    keys_file: str = ""
    """File of lines `TENANT sha256:HEX`; a tenant may have several."""
    keys_env: str = ""
    """Environment variable with such lines, or with commas between them."""
    paths: list[str] = field(default_factory=list)
    """What tenants may ask beside the scheduled paths and the lists of models; when empty, the
    usual APIs that change nothing, and with `isolate` those of them that leave nothing in a
    cache."""
    isolate: bool = False
    """Salt prompts by tenant in the engines' caches and here, so that no tenant can find out by
    timing what another's prompts begin with. They share no prefix any longer."""
    salt_env: str = ""
    """Environment variable with a secret that makes the salts unguessable to those who reach the
    engines directly; the same for all proxies in front of them."""


class AdminConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[admin]`: who may see `/metrics` and `/paceline/*`, and change the backends."""

    port: int | None = None
    """TCP port of a listener of its own; then the other one does not have these paths."""
    host: str = "127.0.0.1"
    """Address of that listener."""
    keys_file: str = ""
    """File of lines `NAME sha256:HEX`; changing backends takes such a key."""
    keys_env: str = ""
    """Environment variable with such lines."""
    backend_hosts: list[str] = field(default_factory=list)
    """Hosts that backends added through the API may have: names, `*.example`, or networks such as
    `10.0.0.0/24`, which stand for addresses written as numbers. None may be added by default."""


class UpstreamConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[upstream]`: how patient the proxy is with engines."""

    connect_seconds: float = 2.0
    """Longest wait for a TCP connection."""
    first_byte_seconds: float | None = None
    """Longest wait for the first byte of an answer; none by default, since prefill has no limit."""
    idle_seconds: float = 300.0
    """Longest silence inside an answer."""
    total_seconds: float | None = None
    """Longest time from a request's arrival to the end of its answer; clients may set a shorter one
    with `x-paceline-timeout`."""
    hang_seconds: float | None = 1.0
    """A backend that owes answers is left when it has been silent for so long and reacts to no
    question either; requests of which no byte came go elsewhere."""
    stuck_seconds: float | None = 30.0
    """One that reacts is left when it has been silent for so long, its load stands still and it
    does not generate a token; what it has stays there."""
    generate_seconds: float | None = None
    """How often an idle backend is asked for one token; off by default, as it costs one."""
    keepalive_seconds: float = 3.0
    """How long an idle connection is kept: below the 5 s after which uvicorn closes its side."""
    probe_seconds: float = 2.0
    """How often a backend is asked for its health and, when busy, its load."""
    probe_timeout_seconds: float = 5.0
    """Longest wait for the answer to such a question."""


class TenantLimits(Struct, forbid_unknown_fields=True, kw_only=True):
    """What one tenant may have; beyond it requests are refused with 429."""

    requests_per_second: float | None = None
    """Requests let in a second, on average."""
    prompt_tokens_per_second: float | None = None
    """Estimated prompt tokens let in a second, on average."""
    burst_seconds: float = 10.0
    """How many seconds' worth of either may come at once."""
    max_requests: int | None = None
    """Requests that may wait and run at once."""


class LimitsConfig(TenantLimits, forbid_unknown_fields=True, kw_only=True):
    """`[limits]`: what each tenant may have; those that send no name share one account."""

    tenants: dict[str, TenantLimits] = field(default_factory=dict)
    """`[limits.tenants.NAME]`: other limits for one tenant, with the same keys."""


class LogConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[log]`: one line a request."""

    format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is printed; request lines are `info`."""
    record: str | None = None
    """File to which the scheduler's events are appended as JSON lines, for `paceline sim --trace`;
    prompts are in it as hashes only."""


class TracingConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[tracing]`: a span a request, for OpenTelemetry; needs `paceline[otel]`."""

    endpoint: str = ""
    """Where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; nothing is
    traced without. OpenTelemetry's own variables say the rest, such as
    `OTEL_EXPORTER_OTLP_HEADERS`."""
    sample: float = 0.1
    """Part of the requests that are traced, of those that come without a `traceparent`; the others
    are as theirs says."""


class PolicyConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[policy]`: who goes first."""

    name: str = "auto"
    """An installed policy (`paceline policies` lists them) or `module:Class`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """`[policy.settings]`: the policy's own settings."""


class BackendConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[backends]]`: one engine. All but the URL is found out by asking it."""

    url: str
    """Base address, such as `http://10.0.0.7:8000`; without the `/v1`."""
    name: str = ""
    """Name in headers, logs and metrics; the URL's host and port unless given."""
    kind: Literal["auto", "vllm", "sglang", "openai"] = "auto"
    """Which engine it is; `auto` asks it, `openai` is any other OpenAI-compatible server."""
    models: list[str] = field(default_factory=list)
    """Model names it serves; asked for when empty."""
    kv_tokens: int | None = None
    """Size of its KV pool in tokens; asked for when not given."""
    max_running: int | None = None
    """Requests that it runs at once; asked for when not given."""
    pass_priority: Literal["no", "lower_first", "higher_first"] = "no"
    """Whether requests take `x-paceline-priority` along, as `priority` in their body: `lower_first`
    for vLLM with `--scheduling-policy priority`, which refuses it otherwise; `higher_first` for
    SGLang with `--enable-priority-scheduling`."""
    leader_first: bool | None = None
    """Hold requests that share a long prefix until the first of them is computed; on for SGLang."""
    api_key_env: str = ""
    """Environment variable with the engine's own key (its `--api-key`), sent instead of the
    client's."""
    ca_file: str = ""
    """Authorities in PEM that vouch for an `https` engine, instead of the system's."""
    cert_file: str = ""
    """Certificate in PEM, with its key, to present to the engine (mTLS)."""
    kv_events: str = ""
    """Where it publishes KV events, such as `tcp://10.0.0.7:5557`; needs `paceline[kv-events]` and,
    for them to count block by block, a tokenizer in `[[models]]`."""
    kv_replay: str = ""
    """Where it replays them: without, a lost event leaves the estimate until its cache is empty."""


class DiscoveryConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[discovery]]`: engines that are looked up while the proxy runs, beside `[[backends]]`. One
    of `service`, `srv` and `host` says where; the last settings count for all that are found."""

    service: str = ""
    """A Kubernetes Service: its ready endpoints are the engines. The proxy must run in a pod whose
    account may list and watch `endpointslices`."""
    namespace: str = ""
    """The Service's namespace; the proxy's own when empty."""
    srv: str = ""
    """A name with SRV records, such as `_http._tcp.vllm.example`: their targets are the engines;
    needs `paceline[dns]`, as `host` does."""
    host: str = ""
    """A name of which each address is an engine."""
    port: int | None = None
    """Port of the engines: 80 for `host`, the first one of the Service's unless given."""
    resolver: str = ""
    """DNS server to ask, such as `127.0.0.1:8600`; the system's when empty."""
    seconds: float = 10.0
    """How often the DNS is asked. A Service is watched."""
    scheme: Literal["http", "https"] = "http"
    """How to speak to the engines."""
    kind: Literal["auto", "vllm", "sglang", "openai"] = "auto"
    """As in `[[backends]]`."""
    leader_first: bool | None = None
    """As in `[[backends]]`."""
    api_key_env: str = ""
    """As in `[[backends]]`."""
    ca_file: str = ""
    """As in `[[backends]]`."""
    cert_file: str = ""
    """As in `[[backends]]`."""


class FleetConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[fleet]`: other proxies before the same backends, on other hosts. They tell each other what
    they send where, over Valkey or Redis; needs `paceline[redis]`."""

    url: str = ""
    """The store, such as `redis://10.0.0.9:6379/0`, `rediss://` for TLS; no password in it. In no
    fleet without."""
    cell: str = "default"
    """Which proxies share: those of one cell must have the same backends, by the same names."""
    secret_file: str = ""
    """File with a secret, the same in all proxies: what makes their block keys, and the salts of
    `auth.isolate`, equal, and unguessable to whoever reads the store. Needed."""
    secret_env: str = ""
    """Environment variable with it instead."""
    password_file: str = ""
    """File with the store's password, if it wants one."""
    password_env: str = ""
    """Environment variable with it instead."""
    ca_file: str = ""
    """Authorities in PEM that vouch for the store, instead of the system's."""
    interval_seconds: float = 0.05
    """How often it is told what is new: what the others do not see of a proxy is as old as that."""


class ModelConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[models]]`: what is known of a model, so that prompts need not be estimated."""

    name: str
    """As requests name it."""
    tokenizer: str
    """Its `tokenizer.json`, or the folder with that and the chat template; needs
    `paceline[tokenizer]`."""
    block_tokens: int = 16
    """Tokens in a block, of the first ones: the engines' block size or a multiple of it."""


class RuleConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[rules]]`: which model serves a class of requests. The first rule of which all conditions
    hold counts; a request that meets none keeps its model. Names may have `*` and `?` in them."""

    to: str
    """The model that serves them: it is what the engine gets as the body's `model`, the one member
    of a body that the proxy ever replaces."""
    models: list[str] = field(default_factory=list)
    """Models asked for, such as `gpt-4o*`; any, or none at all, when empty. Those without `*` and
    `?` are listed in `/v1/models`, too."""
    tenants: list[str] = field(default_factory=list)
    """Whose requests, by key or else by `x-paceline-tenant`; anybody's when empty."""
    paths: list[str] = field(default_factory=list)
    """Such as `/v1/chat/completions`; any when empty."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that a request must have, with their values."""
    streaming: bool | None = None
    """Whether the answer is a stream. This and the following are known of scheduled paths only;
    elsewhere a rule with such a condition does not hold."""
    min_prompt_tokens: int | None = None
    """Least prompt, in tokens as estimated for the model asked for."""
    max_prompt_tokens: int | None = None
    """Longest prompt."""
    min_output_tokens: int | None = None
    """Least `max_tokens` of the request; one that sets none may be of any length."""
    max_output_tokens: int | None = None
    """Largest `max_tokens`; a request that sets none is over it."""


class Config(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration file."""

    server: ServerConfig = field(default_factory=ServerConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    admin: AdminConfig = field(default_factory=AdminConfig)
    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    fleet: FleetConfig = field(default_factory=FleetConfig)
    models: list[ModelConfig] = field(default_factory=list)
    """Models with a tokenizer; the prompts of others are estimated from their bytes."""
    backends: list[BackendConfig] = field(default_factory=list)
    """Engines; none, and nowhere to look for some, means two embedded emulators."""
    discovery: list[DiscoveryConfig] = field(default_factory=list)
    """Where to look for more engines."""
    rules: list[RuleConfig] = field(default_factory=list)
    """Which model serves which requests, where that is not the one asked for."""
