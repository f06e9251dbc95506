use proptest::prelude::*;

use super::*;

fn layout(text: &str) -> Layout {
    Layout::parse(text).unwrap()
}

/// Whose a key is, by its name.
fn whose(layout: &Layout, key: &str) -> Option<String> {
    layout.tenant_of(key).ok().flatten().map(String::from)
}

#[test]
fn a_pattern_says_whose_a_key_is() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("{tenant}/**", "acme/2026/x.parquet", Some("acme")),
        ("{tenant}/**", "x.parquet", None),
        ("{tenant}/**", "_icepack/acme/manifest/1.json", None),
        (
            "topics/{tenant}/**",
            "topics/orders/partition=0/x.parquet",
            Some("orders"),
        ),
        ("topics/{tenant}/**", "topics/x.parquet", None),
        ("topics/{tenant}/**", "topics/_tmp/x.parquet", None),
        ("topics/{tenant}/**", "topic/orders/x.parquet", None),
        (
            "tenant_id={tenant}/**",
            "tenant_id=acme/x.parquet",
            Some("acme"),
        ),
        ("tenant_id={tenant}/**", "acme/x.parquet", None),
        ("{tenant}-data/**", "acme-data/x.parquet", Some("acme")),
        ("{tenant}-data/**", "_acme-data/x.parquet", None),
        (
            "*/tenant={tenant}/**",
            "2026-10-01/tenant=acme/x.parquet",
            Some("acme"),
        ),
        ("*/tenant={tenant}/**", "_tmp/tenant=acme/x.parquet", None),
        ("*/tenant={tenant}/**", "tenant=acme/x.parquet", None),
        (
            "{schema}/{table}/**",
            "public/orders/x.parquet",
            Some("public.orders"),
        ),
        ("{schema}/{table}/**", "a.b/c/x.parquet", Some("a..b.c")),
        ("{schema}/{table}/**", "a./b/x.parquet", Some("a...b")),
        ("{schema}/{table}/**", "a/b.c/x.parquet", Some("a.b..c")),
        ("{schema}/{table}/**", "public/_tmp/x.parquet", None),
        ("{schema}/{table}/**", "public/x.parquet", None),
        ("**", "x.parquet", Some(ONLY_TENANT)),
        ("**", "a/b/x.parquet", Some(ONLY_TENANT)),
        ("**", "_icepack/default/manifest/1.json", None),
        ("data/**", "data/x.parquet", Some(ONLY_TENANT)),
        ("data/**", "x.parquet", None),
    ];
    for (pattern, key, tenant) in cases {
        let layout = layout(pattern);
        assert_eq!(whose(&layout, key).as_deref(), *tenant, "{pattern} {key}");
        let found = layout.tenant_of(key).ok().flatten();
        assert!(
            found.is_none_or(|t| t.owns(key) && t.layout() == &layout),
            "{pattern} {key}"
        );
    }
}

/// A folder at a placeholder whose text is no name is told by the folder's name.
#[test]
fn a_folder_that_can_be_no_tenant_is_named() {
    let hive = layout("tenant_id={tenant}/**");
    for (folder, why) in [
        ("tenant_id=a%2Fb", "it has one of / \\ %"),
        ("tenant_id=", "it is empty"),
        (
            "tenant_id=__HIVE_DEFAULT_PARTITION__",
            "would start with `.` or `_`",
        ),
    ] {
        let error = hive.tenant_of(&format!("{folder}/x.parquet")).unwrap_err();
        let TenantError::Unsafe(name, reason) = &error else {
            panic!("{error}")
        };
        assert!(name == folder && reason.contains(why), "{error}");
    }
    let hidden = Err(TenantError::Hidden("_x".to_owned()));
    assert_eq!(layout("{tenant}/**").tenant_of("_x/y"), hidden);
    assert_eq!(layout("{tenant}x/**").tenant_of("_x/y"), hidden);
    let long = format!("{}/{}/x", "a".repeat(150), "b".repeat(150));
    assert!(layout("{a}/{b}/**").tenant_of(&long).is_err());
}

#[test]
fn a_tenant_has_a_prefix_where_no_wildcard_stands_above_it() {
    for (pattern, name, prefix) in [
        ("{tenant}/**", "a.b", Some("a.b/")),
        ("topics/{tenant}/**", "orders", Some("topics/orders/")),
        ("{tenant}/events/**", "acme", Some("acme/events/")),
        ("tenant_id={tenant}/**", "acme", Some("tenant_id=acme/")),
        ("{schema}/{table}/**", "a..b.c", Some("a.b/c/")),
        ("{schema}/{table}/**", "acme", None),
        ("{schema}/{table}/**", "a.b.c", None),
        ("{schema}/{table}/**", "a._b", None),
        ("*/tenant={tenant}/**", "acme", None),
        ("**", ONLY_TENANT, Some("")),
        ("**", "acme", None),
        ("data/**", ONLY_TENANT, Some("data/")),
    ] {
        let tenant = Tenant::parse(name).unwrap().within(&layout(pattern));
        assert_eq!(tenant.prefix().as_deref(), prefix, "{pattern} {name}");
    }
    // What has no prefix has no key either.
    for (pattern, name, key) in [
        ("{s}/{t}/**", "a._b", "a/_b/x"),
        ("{s}/{t}/**", "acme", "acme/x/y"),
        ("**", "acme", "acme/x"),
    ] {
        let tenant = Tenant::parse(name).unwrap().within(&layout(pattern));
        assert_eq!(tenant.below(key), None, "{pattern} {name}");
    }
    assert_eq!(layout("a/b/{t}/**").head(), "a/b/");
    assert_eq!(layout("a/{s}/b/{t}/**").head(), "a/");
    assert_eq!(layout("{tenant}/**").before_name().unwrap(), "");
    assert_eq!(layout("a/b={t}/**").before_name().unwrap(), "a/b=");
    for scattered in ["{t}-x/**", "{s}/{t}/**", "*/{t}/**", "{t}/x/**", "**"] {
        assert_eq!(layout(scattered).before_name(), None, "{scattered}");
    }
}

#[test]
fn a_folder_of_one_tenant_is_turned_into_one_of_another() {
    for (pattern, from, into, key, folder) in [
        (
            "topics/{t}/**",
            "orders",
            "restored-orders",
            "topics/orders/p=0/x",
            Some("topics/restored-orders/p=0"),
        ),
        (
            "*/tenant={t}/**",
            "acme",
            "b",
            "2026-10-01/tenant=acme/x",
            Some("2026-10-01/tenant=b"),
        ),
        ("{s}/{t}/**", "a.b", "c.d", "a/b/e/x", Some("c/d/e")),
        ("{s}/{t}/**", "a.b", "c", "a/b/x", None),
        ("{t}/**", "a", "b", "c/x", None),
        ("**", ONLY_TENANT, ONLY_TENANT, "x", Some("")),
        ("**", ONLY_TENANT, "b", "x", None),
    ] {
        let of = |name| Tenant::parse(name).unwrap().within(&layout(pattern));
        let found = of(into).folder_like(&of(from), key);
        assert_eq!(found.as_deref(), folder, "{pattern} {key}");
    }
}

#[test]
fn what_is_no_pattern_says_what_to_write() {
    for (pattern, says) in [
        ("", "must end with `**`, as \"/**\""),
        ("{tenant}", "as \"{tenant}/**\""),
        ("{tenant}/*", "as \"{tenant}/**\""),
        ("{tenant}**", "must end with `**`"),
        ("/{tenant}/**", "without a slash at its start"),
        ("a//{tenant}/**", "two slashes"),
        ("_a/{tenant}/**", "is hidden"),
        ("../{tenant}/**", "is hidden"),
        ("a-*/{tenant}/**", "a whole folder"),
        ("**/{tenant}/**", "a whole folder"),
        ("{a}{b}/**", "two placeholders"),
        ("{a}/{a}/**", "a name of its own"),
        ("{}/**", "a word in braces"),
        ("{A}/**", "a word in braces"),
        ("{a/**", "a word in braces"),
        ("a}/**", "without a `{`"),
        ("*/**", "no placeholder comes after"),
        ("{tenant}/*/**", "no placeholder comes after"),
        ("a\\b/{tenant}/**", "a backslash"),
    ] {
        let error = Layout::parse(pattern).unwrap_err();
        assert!(
            error.starts_with(&format!("`{pattern}` is not a layout: ")) && error.contains(says),
            "{error}"
        );
    }
}

/// Patterns of every kind.
const PATTERNS: &[&str] = &[
    "{tenant}/**",
    "a/{tenant}/**",
    "a={tenant}/**",
    "{tenant}.a/**",
    "*/a={tenant}/**",
    "{s}/{t}/**",
    "{s}/a/b={t}/**",
    "{s}/*/{t}/{u}/**",
    "**",
    "a/**",
];

/// Keys in which separators of names and of folders, and what is hidden, are frequent.
fn keys() -> impl Strategy<Value = String> {
    let folder = prop_oneof![
        4 => "[ab._=]{0,4}",
        2 => "a=[ab.]{1,3}",
        1 => Just("a".to_owned()),
        1 => Just(STATE_DIR.to_owned()),
    ];
    proptest::collection::vec(folder, 0..6).prop_map(|folders| {
        let mut key: String = folders.iter().map(|f| format!("{f}/")).collect();
        key.push('x');
        key
    })
}

/// The rule before there were layouts.
fn owned_of_old(tenant: &str, key: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    key.strip_prefix(tenant)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| rest.split('/').all(plain))
}

/// Keys made of `key` that are no tenant's.
fn never(layout: &Layout, key: &str) -> Vec<String> {
    let mut keys = vec![format!("{STATE_DIR}/{key}"), format!("{key}/../x")];
    if !layout.0.folders.is_empty() {
        keys.extend([format!(".h/{key}"), format!("_h/{key}")]);
    }
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// No key has two tenants, none crosses from one to another, and what is hidden is nobody's.
    #[test]
    fn a_key_has_one_tenant(pattern in 0..PATTERNS.len(), key in keys(), other in keys()) {
        let layout = layout(PATTERNS[pattern]);
        let (one, two) = (layout.tenant_of(&key), layout.tenant_of(&other));
        for tenant in [&one, &two].into_iter().flatten().flatten() {
            for key in [&key, &other] {
                let is_its = whose(&layout, key).as_deref() == Some(tenant.as_str());
                prop_assert_eq!(tenant.below(key).is_some(), is_its, "{} {}", tenant, key);
                prop_assert!(is_its || !tenant.owns(key));
            }
            prop_assert!(never(&layout, &key).iter().all(|key| !tenant.owns(key)));
        }
        // The same name means the same texts at the placeholders.
        if let (Ok(Some(one)), Ok(Some(two))) = (&one, &two) {
            let place = |t: &Tenant| layout.place(t.as_str(), "any").unwrap();
            prop_assert_eq!(one == two, place(one) == place(two));
            if let (Some(a), Some(b)) = (one.prefix(), two.prefix()) {
                prop_assert_eq!(a.starts_with(&b), one == two, "{} {}", a, b);
                prop_assert!(key.starts_with(&a));
            }
        }
    }

    /// From a name to a place and back.
    #[test]
    fn a_name_is_that_of_its_place(pattern in 0..PATTERNS.len(), name in "[ab._]{1,8}") {
        let layout = layout(PATTERNS[pattern]);
        if let Ok(tenant) = Tenant::parse(&name).map(|t| t.within(&layout)) {
            match layout.place(&name, "any") {
                Some(place) => {
                    let key = format!("{place}x");
                    prop_assert_eq!(layout.tenant_of(&key).unwrap(), Some(tenant.clone()));
                    prop_assert_eq!(tenant.below(&key), Some("x"));
                }
                None => prop_assert!(layout.0.placeholders != 1),
            }
        }
    }

    #[test]
    fn the_default_is_the_first_folder(name in "[ab._]{1,3}", key in keys()) {
        if let Ok(tenant) = Tenant::parse(&name) {
            prop_assert_eq!(tenant.owns(&key), owned_of_old(&name, &key));
        }
    }
}
