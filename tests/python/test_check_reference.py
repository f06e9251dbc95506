"""What check_reference.py would find: each test takes a page and a program that differ in one thing."""

import unittest

from reference import documents, metrics

METRICS = """# Metrics

| metric | type | labels |
| --- | --- | --- |
| `icepack_tenants` | gauge | |
| `icepack_runs_total` | counter | `outcome`: `success`, `failure` |
"""
EXPORTED = """# TYPE icepack_tenants gauge
icepack_tenants 5
# TYPE icepack_runs_total counter
icepack_runs_total{outcome="success"} 1
icepack_runs_total{outcome="failure"} 0
"""
JSON = """
## `ls`

```json
{"tenants": [{"name": "acme"}]}
```

| field | type | meaning |
| --- | --- | --- |
| `tenants` | list of [tenant](#tenant) | |

### Tenant

| field | type | meaning |
| --- | --- | --- |
| `name` | string | |
| `rows` | integer or null | |
| `note` | optional string | |
"""
PRINTED = {"tenants": [{"name": "acme", "rows": 1, "note": "new"}, {"name": "globex", "rows": None}]}


def of_metrics(page: str, text: str) -> list[str]:
    return metrics.differences(metrics.documented(page), metrics.exported(text))


def of_documents(page: str, document) -> list[str]:
    parsed = documents.Page.parse(page)
    found = list(parsed.differences("ls", document, "ls"))
    found += [p for p in parsed.never_printed() if "rare" not in p]
    return found + [p for example in parsed.examples["ls"] for p in parsed.differences("ls", example, "example", whole=False)]


class Metrics(unittest.TestCase):
    def test_what_is_the_same(self):
        self.assertEqual(of_metrics(METRICS, EXPORTED), [])

    def test_a_name_that_is_missing_on_either_side(self):
        self.assertEqual(of_metrics(METRICS.replace("icepack_tenants", "icepack_tenant"), EXPORTED), [
            "metrics.md: icepack_tenants is exported and not on the page",
            "metrics.md: icepack_tenant is not exported",
        ])  # fmt: skip

    def test_another_type_label_or_value(self):
        for page in (METRICS.replace("counter", "gauge"), METRICS.replace("`outcome`", "`result`"), METRICS.replace(", `failure`", "")):
            self.assertEqual(len(of_metrics(page, EXPORTED)), 1, page)


class Documents(unittest.TestCase):
    def test_what_is_the_same(self):
        self.assertEqual(of_documents(JSON, PRINTED), [])

    def test_a_field_that_is_not_on_the_page(self):
        problems = of_documents(JSON.replace("| `rows` | integer or null | |\n", ""), PRINTED)
        self.assertEqual(problems[0], "json.md: ls.tenants[].rows is printed and not on the page (section `tenant`)")

    def test_a_field_that_is_not_printed(self):
        document = {"tenants": [{"name": "acme", "rows": 1}, {"name": "globex"}]}
        self.assertEqual(of_documents(JSON, document), [
            "json.md: ls.tenants[].rows is not printed (section `tenant`)",
            "json.md: tenant.note was never printed: take it from the page, or print it in tests/python/reference/stores.py",
        ])  # fmt: skip

    def test_another_type(self):
        for old, new in (("list of ", ""), ("integer or null", "integer"), ("integer or null", "string or null"), ("string |", "text |")):
            self.assertTrue(of_documents(JSON.replace(old, new), PRINTED), f"{old} → {new}")

    def test_an_example_with_a_field_that_there_is_not(self):
        self.assertEqual(of_documents(JSON.replace('{"name": "acme"}', '{"nam": "acme"}'), PRINTED), [
            "json.md: example.tenants[].nam is printed and not on the page (section `tenant`)",
        ])  # fmt: skip


if __name__ == "__main__":
    unittest.main()
