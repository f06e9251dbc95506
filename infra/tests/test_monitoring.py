"""infra/monitoring: the rules with the real promtool, and that rules and dashboard ask only for metrics that there are."""

import json
import os
import pathlib
import re
import unittest

import yaml

from support import INFRA, ROOT, left_out, run

MONITORING = INFRA / "monitoring"
PROMETHEUS = os.environ.get("ICEPACK_TEST_PROMETHEUS")
NO_PROMETHEUS = "promtool could not be had (see above)."
if not PROMETHEUS:
    left_out("infra/monitoring with promtool", NO_PROMETHEUS)

METRICS = set(re.findall(r'"(icepack_\w+)"', (ROOT / "src" / "telemetry" / "metrics" / "names.rs").read_text()))


def promtool(*args, **options):
    return run(pathlib.Path(PROMETHEUS) / "promtool", *args, cwd=MONITORING, **options)


def rules():
    return yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]


def expressions():
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    return {"dashboard": queries, "alerts": [rule["expr"] for rule in rules()]}


class Monitoring(unittest.TestCase):
    @unittest.skipUnless(PROMETHEUS, NO_PROMETHEUS)
    def test_the_rules_are_valid_and_do_what_they_should(self):
        promtool("check", "rules", "alerts.yaml")
        promtool("test", "rules", "alerts_test.yaml")

    @unittest.skipUnless(PROMETHEUS, NO_PROMETHEUS)
    def test_the_rule_tests_fire(self):
        """A threshold that is another is noticed: each alert's test fails when its rule never fires."""
        text = (MONITORING / "alerts.yaml").read_text()
        for rule in rules():
            broken = MONITORING / "alerts.yaml.broken"
            tests = MONITORING / "alerts_test.yaml.broken"
            try:
                broken.write_text(text.replace(rule["expr"], f"({rule['expr']}) and vector(0) > 1"))
                tests.write_text((MONITORING / "alerts_test.yaml").read_text().replace("[alerts.yaml]", f"[{broken.name}]"))
                self.assertNotEqual(promtool("test", "rules", tests.name, ok=range(256)).returncode, 0, rule["alert"])
            finally:
                broken.unlink(missing_ok=True)
                tests.unlink(missing_ok=True)

    def test_only_metrics_that_exist_are_asked_for(self):
        self.assertGreater(len(METRICS), 20)
        asked = set()
        for where, queries in expressions().items():
            self.assertTrue(queries)
            for query in queries:
                names = set(re.findall(r"\bicepack_\w+", query))
                self.assertTrue(names, f"{where}: {query} asks for nothing of ours")
                self.assertEqual(names - METRICS, set(), f"{where}: {query}")
                asked |= names
        # What is measured and shown nowhere is missed by nobody; these are for people's own queries.
        self.assertEqual(METRICS - asked, {"icepack_last_run_success", "icepack_tenants", "icepack_run_seconds_total"})

    def test_every_alert_has_a_section_in_the_runbook(self):
        runbook = (ROOT / "docs" / "runbook.md").read_text()
        headings = {heading.lower() for heading in re.findall(r"^#+ (.+)$", runbook, re.M)}
        for rule in rules():
            self.assertEqual(rule["annotations"]["runbook"], f"docs/runbook.md#{rule['alert'].lower()}")
            self.assertIn(rule["alert"].lower(), headings)


if __name__ == "__main__":
    unittest.main()
