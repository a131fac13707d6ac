//! What to do instead of the keys of Prometheus 3 that this release does not support.

const LIMITS: &str = "limit pages with sample_limit and body_size_limit";
const TEXT_ONLY: &str = "pages are read as Prometheus text 0.0.4, with classic histograms; leave the key out";
const UTF8: &str = "names of any UTF-8 are taken as they are; leave the key out";
const PLAIN: &str = "scrape the target without credentials, or through a local proxy that adds them";
const PROXY: &str = "let the secondary reach the target directly";
const DISCOVERY: &str = "write the targets to a file and name it under file_sd_configs";

/// Keys of a `scrape_configs` entry, and what to do instead of each.
const REFUSED: [(&str, &str); 32] = [
    ("scrape_protocols", TEXT_ONLY),
    ("fallback_scrape_protocol", TEXT_ONLY),
    ("scrape_native_histograms", TEXT_ONLY),
    ("scrape_classic_histograms", TEXT_ONLY),
    ("always_scrape_classic_histograms", TEXT_ONLY),
    ("convert_classic_histograms_to_nhcb", TEXT_ONLY),
    ("native_histogram_bucket_limit", TEXT_ONLY),
    ("native_histogram_min_bucket_factor", TEXT_ONLY),
    ("basic_auth", PLAIN),
    ("authorization", PLAIN),
    ("oauth2", PLAIN),
    ("tls_config", PLAIN),
    ("bearer_token", PLAIN),
    ("bearer_token_file", PLAIN),
    ("http_headers", PLAIN),
    ("proxy_url", PROXY),
    ("no_proxy", PROXY),
    ("proxy_from_environment", PROXY),
    ("proxy_connect_header", PROXY),
    ("follow_redirects", "name the final address of the page"),
    ("enable_http2", "pages are fetched over HTTP/1.1; leave the key out"),
    ("enable_compression", "pages are asked for with gzip; leave the key out"),
    ("label_limit", LIMITS),
    ("label_name_length_limit", LIMITS),
    ("label_value_length_limit", LIMITS),
    ("target_limit", "drop targets with relabel_configs"),
    ("keep_dropped_targets", "dropped targets are counted, not kept; leave the key out"),
    ("track_timestamps_staleness", "set honor_timestamps: false where series that end must go stale"),
    ("metric_name_validation_scheme", UTF8),
    ("metric_name_escaping_scheme", UTF8),
    ("extra_scrape_metrics", "leave the key out"),
    ("scrape_failure_log_file", "read failures in the log and in /api/v1/targets"),
];

/// The kinds of discovery that Prometheus 3 knows, besides `static` and `file`.
const DISCOVERIES: [&str; 29] = [
    "aws",
    "azure",
    "consul",
    "digitalocean",
    "dns",
    "docker",
    "dockerswarm",
    "ec2",
    "eureka",
    "gce",
    "hetzner",
    "http",
    "ionos",
    "kubernetes",
    "kuma",
    "lightsail",
    "linode",
    "marathon",
    "nerve",
    "nomad",
    "openstack",
    "ovhcloud",
    "puppetdb",
    "scaleway",
    "serverset",
    "stackit",
    "triton",
    "uyuni",
    "vultr",
];

/// Returns the sentence for a key that Prometheus knows and this release refuses.
pub(crate) fn refusal(key: &str) -> Option<String> {
    let kind = key.strip_suffix("_sd_configs");
    let advice = match kind.filter(|kind| DISCOVERIES.contains(kind)) {
        Some(_) => DISCOVERY,
        None => REFUSED.iter().find(|(name, _)| *name == key)?.1,
    };
    Some(format!("{key} is not supported by this release: {advice}"))
}
