//! The tables of `scrape_configs`.

use crate::keys::{Key, Section};

const TEXT_ONLY: &str = "pages are read as text, where a native histogram shows as a classic one";
const DISCOVERY: &str = "write the targets to a file and name it under file_sd_configs, or serve them as JSON and name \
                         the address under http_sd_configs";
const REFERENCE: &str = "there is no manager of secrets: write the secret to a file and name it under the key that \
                         ends in _file";
const ZERO: &str = "0 takes what global (or defaults) says, and is no limit if that says nothing";

/// The tables as the reference shows them.
pub(crate) const SECTIONS: &[Section] = &[
    Section { title: "An entry of scrape_configs", keys: JOB },
    Section { title: "An entry of scrape_configs, and global", keys: UNUSED },
    Section { title: "How a server is asked: in a job and in an entry of http_sd_configs", keys: SERVER_KEYS },
    Section { title: "basic_auth", keys: BASIC_AUTH },
    Section { title: "authorization", keys: AUTHORIZATION },
    Section { title: "tls_config", keys: TLS },
    Section { title: "A header of http_headers", keys: HEADER },
    Section { title: "How targets are found", keys: DISCOVERIES },
    Section { title: "A group of static_configs, and of a file or an answer with targets", keys: GROUP },
    Section { title: "An entry of file_sd_configs", keys: FILE_SD },
    Section { title: "An entry of http_sd_configs, besides how the server is asked", keys: HTTP_SD },
    Section { title: "An entry of dns_sd_configs", keys: DNS_SD },
    Section { title: "A rule of relabel_configs and metric_relabel_configs", keys: RULE },
];

pub(crate) const JOB: &[Key] = &[
    Key::supported("job_name", "must differ from those of the other jobs of the datacenter"),
    Key::supported("scrape_interval", "as in global or defaults"),
    Key::supported("scrape_timeout", "as in global or defaults, but not longer than the interval"),
    Key::supported("scrape_protocols", "PrometheusProto is left out with a warning; the others in the order given"),
    Key::supported("fallback_scrape_protocol", "any but PrometheusProto; a page of unknown type fails without it"),
    Key::supported("metrics_path", "`/metrics`"),
    Key::supported("scheme", "`http`"),
    Key::supported("params", "lists of values by name"),
    Key::supported("honor_labels", "`false`"),
    Key::supported("honor_timestamps", "`true`"),
    Key::supported("track_timestamps_staleness", "`false`"),
    Key::supported("enable_compression", "`true`: pages are asked for with gzip"),
    Key::supported("body_size_limit", "`64MB` unpacked; 0 takes what global (or defaults) says, else is no limit"),
    Key::supported(
        "sample_limit",
        "`50000` after relabelling; large kube-state-metrics need more. Unless it is written, a target that was read \
         three times may not grow past ten times its largest page and 5,000 samples at once",
    ),
    Key::supported("label_limit", "`128` labels of a series"),
    Key::supported("label_name_length_limit", "`512` bytes"),
    Key::supported("label_value_length_limit", "`8192` bytes"),
    Key::supported("target_limit", ZERO),
    Key::supported("relabel_configs", "all actions"),
    Key::supported("metric_relabel_configs", "all actions"),
    Key::supported("scrape_classic_histograms", "the former name of always_scrape_classic_histograms"),
    Key::warned("native_histogram_bucket_limit", TEXT_ONLY),
    Key::warned("native_histogram_min_bucket_factor", TEXT_ONLY),
];

/// Keys that a job and `global` share and that do nothing here.
pub(crate) const UNUSED: &[Key] = &[
    Key::supported("always_scrape_classic_histograms", "either way: classic histograms are always read"),
    Key::warned_unless("scrape_native_histograms", &["false"], TEXT_ONLY),
    Key::warned_unless(
        "convert_classic_histograms_to_nhcb",
        &["false"],
        "histograms stay classic: query the series of their buckets",
    ),
    Key::warned_unless(
        "metric_name_validation_scheme",
        &["utf8"],
        "names of any UTF-8 are taken: drop others with metric_relabel_configs",
    ),
    Key::warned_unless(
        "metric_name_escaping_scheme",
        &["allow-utf-8"],
        "names are taken as they are: rename them with metric_relabel_configs",
    ),
    Key::warned_unless(
        "extra_scrape_metrics",
        &["false"],
        "scrape_timeout_seconds, scrape_sample_limit and scrape_body_size_bytes are not written",
    ),
    Key::warned("keep_dropped_targets", "dropped targets are counted, not kept"),
    Key::warned("scrape_failure_log_file", "failures are in the log and in /api/v1/targets"),
];

pub(crate) const SERVER_KEYS: &[Key] = &[
    Key::supported("basic_auth", "at most one of basic_auth, authorization, bearer_token and bearer_token_file"),
    Key::supported("authorization", "credentials of any type but Basic"),
    Key::supported("bearer_token", "short for authorization.credentials"),
    Key::supported("bearer_token_file", "short for authorization.credentials_file"),
    Key::refused(
        "oauth2",
        "fetch the token beside the secondary, write it to a file and name that under authorization.credentials_file",
    ),
    Key::supported("tls_config", "TLS 1.2 and 1.3"),
    Key::supported("follow_redirects", "`true`"),
    Key::supported("enable_http2", "either way: HTTP/1.1 is spoken"),
    Key::supported("proxy_url", "`http://host:port`; not together with proxy_from_environment"),
    Key::supported("no_proxy", "only with proxy_url"),
    Key::supported("proxy_from_environment", "HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the process"),
    Key::supported("proxy_connect_header", "only with proxy_url or proxy_from_environment"),
    Key::supported("http_headers", "any header that is not set by the scraper itself"),
];

pub(crate) const BASIC_AUTH: &[Key] = &[
    Key::supported("username", "not together with username_file"),
    Key::supported("username_file", "read anew when it is needed, as every file with a secret"),
    Key::supported("password", "not together with password_file"),
    Key::supported("password_file", "relative to the configuration, as every path"),
    Key::refused("username_ref", REFERENCE),
    Key::refused("password_ref", REFERENCE),
];

pub(crate) const AUTHORIZATION: &[Key] = &[
    Key::supported("type", "`Bearer`; not Basic, which is what basic_auth is for"),
    Key::supported("credentials", "not together with credentials_file"),
    Key::supported("credentials_file", "read anew when it is needed"),
    Key::refused("credentials_ref", REFERENCE),
];

pub(crate) const TLS: &[Key] = &[
    Key::supported("ca", "PEM; not together with ca_file"),
    Key::supported("ca_file", "trusted in place of the system's certificates"),
    Key::supported("cert", "PEM; not together with cert_file, and only with a key"),
    Key::supported("cert_file", "shown to the server"),
    Key::supported("key", "PEM; not together with key_file, and only with a certificate"),
    Key::supported("key_file", "of the certificate shown"),
    Key::supported("server_name", "asked for and checked in place of the host"),
    Key::supported("insecure_skip_verify", "`false`"),
    Key::supported("min_version", "TLS12 or TLS13"),
    Key::supported("max_version", "TLS12 or TLS13"),
    Key::refused("ca_ref", REFERENCE),
    Key::refused("cert_ref", REFERENCE),
    Key::refused("key_ref", REFERENCE),
    Key::warned("next_protos", "HTTP/1.1 is spoken, and no other protocol offered"),
];

pub(crate) const HEADER: &[Key] = &[
    Key::supported("values", "sent in order"),
    Key::supported("secrets", "sent after the values, never shown"),
    Key::supported("files", "sent after the secrets, read anew when they are needed"),
];

pub(crate) const DISCOVERIES: &[Key] = &[
    Key::supported("static_configs", "targets written in the file itself"),
    Key::supported("file_sd_configs", "files are watched"),
    Key::supported("http_sd_configs", "a server that lists targets as JSON"),
    Key::supported("dns_sd_configs", "records of names"),
    Key::refused("aws_sd_configs", DISCOVERY),
    Key::refused("azure_sd_configs", DISCOVERY),
    Key::refused("consul_sd_configs", DISCOVERY),
    Key::refused("digitalocean_sd_configs", DISCOVERY),
    Key::refused("docker_sd_configs", DISCOVERY),
    Key::refused("dockerswarm_sd_configs", DISCOVERY),
    Key::refused("ec2_sd_configs", DISCOVERY),
    Key::refused("eureka_sd_configs", DISCOVERY),
    Key::refused("gce_sd_configs", DISCOVERY),
    Key::refused("hetzner_sd_configs", DISCOVERY),
    Key::refused("ionos_sd_configs", DISCOVERY),
    Key::refused("kubernetes_sd_configs", DISCOVERY),
    Key::refused("kuma_sd_configs", DISCOVERY),
    Key::refused("lightsail_sd_configs", DISCOVERY),
    Key::refused("linode_sd_configs", DISCOVERY),
    Key::refused("marathon_sd_configs", DISCOVERY),
    Key::refused("nerve_sd_configs", DISCOVERY),
    Key::refused("nomad_sd_configs", DISCOVERY),
    Key::refused("oci_sd_configs", DISCOVERY),
    Key::refused("openstack_sd_configs", DISCOVERY),
    Key::refused("outscale_sd_configs", DISCOVERY),
    Key::refused("ovhcloud_sd_configs", DISCOVERY),
    Key::refused("puppetdb_sd_configs", DISCOVERY),
    Key::refused("scaleway_sd_configs", DISCOVERY),
    Key::refused("serverset_sd_configs", DISCOVERY),
    Key::refused("stackit_sd_configs", DISCOVERY),
    Key::refused("triton_sd_configs", DISCOVERY),
    Key::refused("uyuni_sd_configs", DISCOVERY),
    Key::refused("vultr_sd_configs", DISCOVERY),
];

pub(crate) const GROUP: &[Key] = &[
    Key::supported("targets", "`host:port`; whatever relabel_configs make an address of"),
    Key::supported("labels", "of every target of the group"),
];

pub(crate) const FILE_SD: &[Key] = &[
    Key::supported("files", "ending in .json, .yml or .yaml; the last part may hold one `*`"),
    Key::supported("refresh_interval", "`5m`: how long until the files are read again, changed or not"),
];

pub(crate) const HTTP_SD: &[Key] = &[
    Key::supported("url", "http or https, without a name and password in it"),
    Key::supported("refresh_interval", "`60s`"),
];

pub(crate) const DNS_SD: &[Key] = &[
    Key::supported("names", "at least one"),
    Key::supported("type", "`SRV`; A, AAAA, MX and NS need a port"),
    Key::supported("port", "of records that name none"),
    Key::supported("refresh_interval", "`30s`"),
];

pub(crate) const RULE: &[Key] = &[
    Key::supported("source_labels", "names of any UTF-8"),
    Key::supported("separator", "`;`"),
    Key::supported("target_label", "a name of any UTF-8; `$1` and `${name}` for what the regex caught, in replace"),
    Key::supported("regex", "`(.*)`, in the syntax of RE2; it must match the whole"),
    Key::supported("modulus", "of hashmod, which takes the last 8 bytes of the MD5"),
    Key::supported("replacement", "`$1`"),
    Key::supported(
        "action",
        "`replace`, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase",
    ),
];
