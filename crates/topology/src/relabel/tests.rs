use super::{read_rules, relabel};
use crate::walk::Walk;
use crate::yaml;

fn pairs(text: &str) -> Vec<(String, String)> {
    let words = text.split(' ').filter(|word| !word.is_empty());
    words.map(|word| word.split_once('=').unwrap()).map(|(n, v)| (n.into(), v.replace("\\n", "\n"))).collect()
}

/// Applies rules written as YAML to labels written as `name=value` words.
fn check(rules: &str, labels: &str, expected: Option<&str>) {
    let mut walk = Walk::new("rules");
    let tree = yaml::parse(rules).unwrap_or_else(|fault| panic!("{rules}: {fault:?}"));
    let items = walk.items(&tree);
    let rules_read = read_rules(&mut walk, items);
    assert_eq!(walk.finish(), Ok(vec![]), "{rules}");
    assert_eq!(relabel(&rules_read, pairs(labels)), expected.map(pairs), "{rules} on {labels}");
}

/// What Prometheus's own test of relabelling shows (`model/relabel/relabel_test.go`), and a few cases more.
#[test]
fn rules_do_what_prometheus_does() {
    let abc = "a=foo b=bar c=baz";
    #[rustfmt::skip]
    let cases = [
        ("[{source_labels: [a], regex: f(.*), target_label: d, replacement: 'ch${1}-ch${1}'}]", abc, Some("a=foo b=bar c=baz d=choo-choo")),
        ("[{source_labels: [a, b], regex: f(.*);(.*)r, target_label: a, replacement: 'b${1}${2}m'},
           {source_labels: [c, a], regex: (b).*b(.*)ba(.*), target_label: d, replacement: $1$2$2$3}]", abc, Some("a=boobam b=bar c=baz d=boooom")),
        ("[{source_labels: [a], regex: .*o.*, action: drop}, {source_labels: [a], regex: f(.*), target_label: d}]", "a=foo", None),
        ("[{source_labels: [a], regex: .*(b).*, target_label: d}]", "a=abc", Some("a=abc d=b")),
        ("[{source_labels: [a], regex: no-match, action: drop}]", "a=foo", Some("a=foo")),
        ("[{source_labels: [a], regex: f|o, action: drop}]", "a=foo", Some("a=foo")),
        ("[{source_labels: [a], regex: no-match, action: keep}]", "a=foo", None),
        ("[{source_labels: [a], regex: f.*, action: keep}]", "a=foo", Some("a=foo")),
        ("[{source_labels: [a], regex: f, target_label: b, replacement: bar}]", "a=boo", Some("a=boo")),
        ("[{regex: (b.*), replacement: 'bar_${1}', action: labelmap}]", "a=foo b1=bar b2=baz", Some("a=foo b1=bar b2=baz bar_b1=bar bar_b2=baz")),
        ("[{regex: __meta_(my.*), replacement: '${1}', action: labelmap}]", "__meta_my_bar=aaa __meta_other=ccc", Some("__meta_my_bar=aaa __meta_other=ccc my_bar=aaa")),
        ("[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${2}', target_label: '${1}'}]", "a=some-name-value", Some("a=some-name-value name=value")),
        ("[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${3}', target_label: '${1}'}]", "a=some-name-value", Some("a=some-name-value")),
        ("[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${1}', target_label: '${3}'}]", "a=some-name-0", Some("a=some-name-0")),
        ("[{source_labels: [__meta_sd_tags], regex: '(?:.+,|^)path:(/[^,]+).*', target_label: __metrics_path__},
           {source_labels: [__meta_sd_tags], regex: '(?:.+,|^)job:([^,]+).*', target_label: job},
           {source_labels: [__meta_sd_tags], regex: '(?:.+,|^)label:([^=]+)=([^,]+).*', replacement: '${2}', target_label: '${1}'}]",
            "__meta_sd_tags=path:/secret,job:some-job,label:foo=bar",
            Some("__meta_sd_tags=path:/secret,job:some-job,label:foo=bar __metrics_path__=/secret foo=bar job=some-job")),
        ("[{regex: ^__port_name$, action: labeldrop}, {source_labels: [port], regex: (.+), replacement: metrics, target_label: __port_name},
           {source_labels: [__port_name], regex: ^metrics$, action: keep}]", "__port_name=foo port=9091", Some("__port_name=metrics port=9091")),
        ("[{regex: (b.*), action: labelkeep}]", "a=foo b1=bar b2=baz", Some("b1=bar b2=baz")),
        ("[{regex: (b.*), action: labeldrop}]", "a=foo b1=bar b2=baz", Some("a=foo")),
        ("[{source_labels: [foo], action: uppercase, target_label: up}, {source_labels: [foo], action: Lowercase, target_label: low}]", "foo=bAr123Foo", Some("foo=bAr123Foo low=bar123foo up=BAR123FOO")),
        ("[{source_labels: [tmp], action: keepequal, target_label: one}]", "one=1234 tmp=1234", Some("one=1234 tmp=1234")),
        ("[{source_labels: [tmp], action: dropequal, target_label: one}]", "one=1234 tmp=1234", None),
        ("[{source_labels: [tmp], action: dropequal, target_label: two}]", "tmp=1234 two=5678", Some("tmp=1234 two=5678")),
        ("[{source_labels: [tmp], action: keepequal, target_label: two}]", "tmp=1234 two=5678", None),
        ("[{target_label: a, replacement: x}]", "", Some("a=x")),
        ("[{target_label: a, replacement: ''}]", "a=1 b=2", Some("b=2")),
        ("[{source_labels: [a], regex: (.*)x, target_label: b, replacement: $1}]", "a=1\\n2x", Some("a=1\\n2x b=1\\n2")),
        ("[{source_labels: [a], regex: '(?P<first>.)(.*)', target_label: b, replacement: '$2-${first}-$first$$'}]", "a=xyz", Some("a=xyz b=yz-x-x$")),
        ("[{source_labels: [a], regex: (.*), target_label: b, replacement: $1x}]", "a=1 b=2", Some("a=1")),
        ("[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]", abc, Some("a=foo b=bar c=baz d=976")),
        ("[{source_labels: [a], target_label: d, action: hashmod, modulus: 1000}]", "a=foo\\nbar", Some("a=foo\\nbar d=734")),
        ("[{source_labels: [], target_label: d, action: hashmod, modulus: 18446744073709551615}]", "", Some("d=16825458760271544958")),
        ("[{source_labels: [a], target_label: d, action: hashmod, modulus: 1}]", "a=1", Some("a=1 d=0")),
        ("[{source_labels: [a], target_label: 'é.$1', regex: (.*)}, {source_labels: ['é.x'], target_label: b/c}]", "a=x", Some("a=x b/c=x é.x=x")),
        ("[{source_labels: [a], target_label: low, action: lowercase}, {source_labels: [a], target_label: up, action: uppercase}]", "a=ΑΣß", Some("a=ΑΣß low=ασß up=ΑΣß")),
        ("[{source_labels: [a], regex: , target_label: b, replacement: x}]", "a=1", Some("a=1")),
        ("[{source_labels: [b], regex: , target_label: b, replacement: x}]", "a=1", Some("a=1 b=x")),
        ("[{target_label: a, replacement: }]", "a=1 b=2", Some("b=2")),
        ("[{regex: a, action: labeldrop, separator: ;, replacement: $1}]", "a=1 b=2", Some("b=2")),
        ("[]", "a=1 b=", Some("a=1")),
    ];
    for (rules, labels, expected) in cases {
        check(rules, labels, expected);
    }
}
