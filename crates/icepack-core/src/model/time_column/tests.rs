use super::*;
use crate::model::file::Micros;
use crate::model::schema::Column;

fn parsed(text: &str) -> TimeColumn {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn each_has_one_text_that_means_it() {
    for (text, canonical) in [
        ("ts", "ts"),
        ("odd name", "odd name"),
        ("`odd name`", "odd name"),
        ("ts as s", "ts as s"),
        ("`ts` as us", "ts as us"),
        ("event.time as ns", "event.time as ns"),
        ("event.`a time`", "`event`.`a time`"),
        ("`event.time`", "`event.time`"),
        ("`event`.time as ms", "`event`.`time` as ms"),
        ("`saved as s`", "`saved as s`"),
        ("`saved as s` as s", "`saved as s` as s"),
        ("`none`", "`none`"),
        ("`path x`", "`path x`"),
        ("`a``b`", "`a``b`"),
        ("none", "none"),
        ("nonesuch", "nonesuch"),
        ("path dt=%Y-%m-%d/hour=%H", "path dt=%Y-%m-%d/hour=%H"),
        ("ts as %d/%m/%Y %H:%M:%S", "ts as %d/%m/%Y %H:%M:%S"),
        ("ts as %s", "ts as %s"),
        ("zeit as %Y as %m", "zeit as %Y as %m"),
    ] {
        let column = parsed(text);
        assert_eq!(column.as_str(), canonical, "{text}");
        assert_eq!(parsed(canonical), column, "{text}");
        let json = serde_json::to_string(&column).unwrap();
        assert_eq!(serde_json::from_str::<TimeColumn>(&json).unwrap(), column);
    }
    assert_ne!(parsed("a.b"), parsed("`a.b`"), "a field, and a column");
    assert_ne!(parsed("ts"), parsed("ts as s"));
}

#[test]
fn what_cannot_be_meant_is_an_error_that_says_what_to_write() {
    for (text, why) in [
        ("ts as days", "s, ms, us or ns"),
        ("ts as ", "s, ms, us or ns"),
        (" as s", "names no column"),
        ("`` as s", "names no column"),
        ("`ts", "backticks"),
        ("`a`b", "backticks"),
        ("ts as %Q", "is not a format"),
        ("ts as %H:%M", "does not tell a time"),
        ("ts as %Y-%m-%d %I:%M", "needs %p"),
        ("ts as %Y-%m-%d %H:%M:%S %Z", "%z does"),
        ("path dt", "does not tell a time"),
        ("path hour=%H", "does not tell a time"),
    ] {
        let error = text.parse::<TimeColumn>().unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    // What an older version took for a name was one.
    for old in ["saved as days", "`", "path dt"] {
        let column = TimeColumn::told(old);
        assert_eq!(column.name().as_deref(), Some(old));
        assert_eq!(TimeColumn::told(column.as_str()), column);
    }
}

#[test]
fn text_is_read_by_its_format() {
    let at = |format: &str, text: &str| parse_text(&items(format), text);
    let second = |s: i64| Some(s * 1_000_000);
    for (format, text, expected) in [
        (
            "%d/%m/%Y %H:%M:%S",
            "28/11/2026 17:45:39",
            second(1_795_887_939),
        ),
        ("%d/%m/%Y", "28/11/2026", second(1_795_824_000)),
        ("%Y-%m", "2026-11", second(1_793_491_200)),
        (
            "%d/%b/%Y:%H:%M:%S %z",
            "01/Jan/2026:00:00:00 +0200",
            second(1_767_218_400),
        ),
        (
            "%Y-%m-%d %I:%M %p",
            "2026-01-01 12:00 PM",
            second(1_767_268_800),
        ),
        ("%s", "1767225600", second(1_767_225_600)),
        (
            "%Y-%m-%d %H",
            "2026-01-01 07",
            second(1_767_225_600 + 7 * 3_600),
        ),
        // A leap second is the first of the next minute.
        (
            "%Y-%m-%d %H:%M:%S",
            "2016-12-31 23:59:60",
            second(1_483_228_800),
        ),
        (
            "%Y-%m-%d %H:%M:%S",
            "0001-01-01 00:00:00",
            second(-62_135_596_800),
        ),
        (
            "%Y-%m-%d %H:%M:%S",
            "9999-12-31 23:59:59",
            second(253_402_300_799),
        ),
        // No such times.
        ("%Y-%m-%d", "2026-02-29", None),
        ("%Y-%m-%d", "", None),
        ("%Y-%m-%d", "2026-01-01 and more", None),
        ("%Y-%m-%d %H:%M:%S", "2026-01-01 24:00:00", None),
    ] {
        assert_eq!(at(format, text), expected, "{format}: {text}");
    }
}

#[test]
fn a_folder_tells_the_last_microsecond_of_its_period() {
    let last = |pattern: &str, key: &str| {
        let period = parsed(&format!("path {pattern}")).period(key).unwrap();
        period.map(|p| p.map(|p| p.last.to_datetime().format("%F %T%.6f").to_string()))
    };
    for (pattern, key, expected) in [
        (
            "dt=%Y-%m-%d",
            "acme/dt=2026-02-28/x",
            "2026-02-28 23:59:59.999999",
        ),
        (
            "dt=%Y-%m-%d/hour=%H",
            "acme/dt=2026-02-28/hour=7/x",
            "2026-02-28 07:59:59.999999",
        ),
        (
            "%Y/%m/%d/%H",
            "acme/2024/02/29/23/x",
            "2024-02-29 23:59:59.999999",
        ),
        (
            "year=%Y/month=%m",
            "acme/a/year=2026/month=2/b=1/x",
            "2026-02-28 23:59:59.999999",
        ),
        ("%Y", "acme/2026/x", "2026-12-31 23:59:59.999999"),
        ("%G-W%V", "acme/2026-W01/x", "2026-01-04 23:59:59.999999"),
        (
            "ts=%Y-%m-%d %H:%M:%S",
            "a/ts=2026-01-01 00%3A00%3A00/x",
            "2026-01-01 00:00:00.999999",
        ),
        // The last stretch that matches: what stands above may be a tenant's name.
        (
            "%Y-%m-%d",
            "2020-01-01/2026-01-02/x",
            "2026-01-02 23:59:59.999999",
        ),
    ] {
        assert_eq!(
            last(pattern, key),
            Ok(Some(expected.to_owned())),
            "{pattern} {key}"
        );
    }
    let null = "acme/dt=__HIVE_DEFAULT_PARTITION__/x";
    assert_eq!(last("dt=%Y-%m-%d", null), Ok(None));
    for key in [
        "acme/x",
        "x",
        "acme/dt=2026-13-01/x",
        "acme/y=2026-01-01/dt=x/x",
    ] {
        let why = last("dt=%Y-%m-%d", key).unwrap_err();
        assert!(why.contains("matches `dt=%Y-%m-%d`"), "{key}: {why}");
    }
    let period = parsed("path %Y")
        .period("2026/x")
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(period.first, Micros(1_767_225_600_000_000));
}

#[test]
fn a_schema_may_have_what_dates_its_rows_or_not() {
    let column = |name: &str, kind: &str| Column {
        name: name.into(),
        kind: kind.into(),
        nullable: true,
    };
    let schema = TableSchema(vec![
        column("ts", "Timestamp(ms)"),
        column("n", "Int64"),
        column("f", "Float64"),
        column("text", "Utf8"),
        column("day", "Date32"),
        column("event", "Struct(\"time\": Int64)"),
        column("a.b", "Int64"),
        column("spent", "Interval(DayTime)"),
    ]);
    for (text, expected) in [
        ("ts", true),
        ("ts as ms", false),
        ("n", false),
        ("n as ms", true),
        ("f as s", true),
        ("text", true),
        ("text as %Y-%m-%d", true),
        ("n as %Y", false),
        ("day", true),
        ("event", false),
        ("event.time as s", true),
        ("text.time", false),
        ("a.b as s", true),
        ("`a.b` as s", true),
        ("`a`.`b` as s", false),
        ("spent as s", false),
        ("missing", false),
        ("none", true),
        ("path %Y", true),
    ] {
        assert_eq!(parsed(text).may_be_in(&schema), expected, "{text}");
    }
}
