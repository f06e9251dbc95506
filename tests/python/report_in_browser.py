"""The report in Chromium: it must work, look like what it says, and ask nobody for anything.

    report_in_browser.py REPORT --chromium PROGRAM --screenshots DIR
"""

import argparse
import pathlib

from playwright.sync_api import Page, sync_playwright

HOSTILE = ["<script>alert(1)", "&\"'><b>x"]


def check(ok: bool, why: str) -> None:
    if not ok:
        raise SystemExit(f"report_in_browser: {why}")


def names(page: Page) -> list[str]:
    return page.locator("#tenant-table tbody tr:visible th").all_inner_texts()


def column(page: Page, title: str) -> list[int]:
    """The numbers that a column sorts by, in the order of the rows that are shown."""
    index = page.locator("#tenant-table thead th").all_inner_texts().index(title)
    cells = page.locator(f"#tenant-table tbody tr:visible > :nth-child({index + 1})")
    return [int(v) for v in cells.evaluate_all("cells => cells.map(c => c.dataset.v)")]


def sorts(page: Page) -> None:
    button = page.get_by_role("button", name="rows", exact=True)
    button.click()
    found = column(page, "rows")
    check(found == sorted(found, reverse=True) and found[0] > found[-1], f"the largest come first: {found}")
    th = page.locator("#tenant-table thead th", has=button)
    check(th.get_attribute("aria-sort") == "descending", "the header tells the order")
    check(page.locator("#tenant-table th[aria-sort]").count() == 1, "and no other does")
    button.click()
    check(column(page, "rows") == sorted(found), "a second click turns it round")
    check("sorted by rows, ascending" in page.locator("#said").inner_text(), "it is said to those who hear it")
    page.get_by_role("button", name="tenant", exact=True).click()
    first = names(page)
    page.get_by_role("button", name="tenant", exact=True).click()
    check(names(page) == first[::-1], "names sort both ways")


def filters(page: Page) -> None:
    everybody = names(page)
    page.get_by_label("Name contains").fill("ALERT")
    check(names(page) == [HOSTILE[0]], f"one name has it: {names(page)}")
    check(page.locator("#said").inner_text().startswith(f"1 of {len(everybody)} tenants"), "the number is said")
    page.get_by_label("Name contains").fill("")
    page.get_by_label("only those to look at").check()
    check(names(page) == ["globex"], f"globex is in quarantine: {names(page)}")
    page.get_by_label("only those to look at").uncheck()
    check(sorted(names(page)) == sorted(everybody), "and all are back")


def keyboard(page: Page) -> None:
    page.reload()
    page.keyboard.press("Tab")
    check(page.evaluate("document.activeElement.className") == "skip", "the first stop skips to the tenants")
    page.keyboard.press("Enter")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
        if seen[-1].strip().startswith("raw bytes"):
            break
    check("filter" in seen and "odd" in seen, f"the filter is reached: {seen}")
    page.keyboard.press("Space")
    found = column(page, "raw bytes")
    check(found == sorted(found, reverse=True), "a key sorts")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    check(outline != "none", "where the keyboard is can be seen")


def escaped(page: Page) -> None:
    check(set(HOSTILE) <= set(names(page)), f"hostile names are told as they are: {names(page)}")
    check(page.locator("script").count() == 1 and page.locator("#tenant-table").locator("b, script, img, svg").count() == 0, "and are no markup")


def understood(page: Page) -> None:
    """What a screen reader finds."""
    check(page.locator("html").get_attribute("lang") == "en" and page.locator("h1").count() == 1, "language and title")
    for table in page.locator("table").all():
        check(table.locator("caption").count() == 1, "each table has a caption")
        check(table.locator("thead th:not([scope=col])").count() == 0, "each header says what it is of")
        check(table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count(), "each row has a header")
    for svg in page.locator("svg").all():
        check(bool(svg.get_attribute("aria-label")) and svg.get_attribute("role") == "img", "each chart has a name")
    check(page.locator("input:not([id])").count() == 0 and page.locator("label").count() == 2, "each input has a label")


LUMINANCE = """(selectors) => {
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (rgb) => { const [r, g, b] = rgb.match(/[0-9.]+/g).map(Number).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  return selectors.map(([selector, property]) => {
    const e = document.querySelector(selector);
    const [a, b] = [light(getComputedStyle(e)[property]), light(behind(e))].sort((x, y) => y - x);
    return [selector, (a + 0.05) / (b + 0.05)];
  });
}"""


def contrast(page: Page) -> None:
    texts = [["body", "color"], [".note", "color"], ["thead th", "color"], ["tr.odd td:nth-child(2)", "color"], [".tick", "fill"], ["summary", "color"]]
    for selector, ratio in page.evaluate(LUMINANCE, texts):
        check(ratio >= 4.5, f"{selector} has a contrast of {ratio:.2f}, 4.5 is the least for text")
    for selector, ratio in page.evaluate(LUMINANCE, [[".bar.raw", "fill"], [".bar.packed", "fill"], [".line.raw", "stroke"], [".line.packed", "stroke"]]):
        check(ratio >= 3.0, f"{selector} has a contrast of {ratio:.2f}, 3 is the least for a figure")


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("report", type=pathlib.Path)
    args.add_argument("--chromium", required=True)
    args.add_argument("--screenshots", type=pathlib.Path, required=True)
    given = args.parse_args()
    given.screenshots.mkdir(parents=True, exist_ok=True)
    address = given.report.resolve().as_uri()
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        grounds = {}
        for scheme in ("light", "dark"):
            for width in (1280, 380):
                context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
                page = context.new_page()
                heard: list[str] = []
                asked: list[str] = []
                # Violations of the policy are told on the console.
                page.on("console", lambda m: heard.append(m.text))
                page.on("pageerror", lambda e: heard.append(str(e)))
                page.on("dialog", lambda d: heard.append(f"a dialog: {d.message}"))
                page.on("request", lambda r: asked.append(r.url))
                page.goto(address)
                page.screenshot(path=str(given.screenshots / f"report-{scheme}-{width}.png"), full_page=True)
                check(page.evaluate("document.documentElement.scrollWidth") <= width, f"the page is wider than {width} pixels")
                grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
                understood(page)
                escaped(page)
                contrast(page)
                sorts(page)
                filters(page)
                keyboard(page)
                for name in page.locator("summary").all():
                    name.click()
                check(heard == [], f"the console is silent: {heard}")
                check(set(asked) == {address}, f"nobody else is asked: {asked}")
                context.close()
        check(grounds["light"] != grounds["dark"], "dark is another ground than light")
        inject(browser, address)
        without_script(browser, address)
        browser.close()


def inject(browser, address: str) -> None:
    """The policy holds: what somebody managed to put into the page would not run."""
    page = browser.new_page()
    heard: list[str] = []
    page.on("console", lambda m: heard.append(m.text))
    page.goto(address)
    page.evaluate("const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s)")
    page.evaluate("const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    check(page.evaluate("window.owned") is None, "a foreign script ran")
    check(any("Content Security Policy" in text for text in heard), f"the policy refused nothing: {heard}")
    page.close()


def without_script(browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    check(len(names(page)) >= 7 and page.locator("form.filter").is_hidden(), "without scripts the table is whole and offers no filter")
    context.close()


if __name__ == "__main__":
    main()
