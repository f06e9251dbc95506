"""The report in Chromium: it must work, look like what it says, and ask nobody for anything.

    report_in_browser.py REPORT --chromium PROGRAM --screenshots DIR [--figures FILE]

With the figures that page_figures.py made, the report is of the store that gives trouble.
"""

import argparse
import json
import pathlib
import re

from playwright.sync_api import Page, sync_playwright

HOSTILE = ["<script>alert(1)", "&\"'><b>x"]
ODD = ["globex", "hooli"]


def check(ok: bool, why: str) -> None:
    if not ok:
        raise SystemExit(f"report_in_browser: {why}")


def names(page: Page) -> list[str]:
    return page.locator("#tenants-table tbody tr:visible th").all_inner_texts()


def column(page: Page, title: str) -> list[int]:
    """The numbers that a column sorts by, in the order of the rows that are shown."""
    index = page.locator("#tenants-table thead th").all_inner_texts().index(title)
    cells = page.locator(f"#tenants-table tbody tr:visible > :nth-child({index + 1})")
    return [int(v) for v in cells.evaluate_all("cells => cells.map(c => c.dataset.v)")]


def sorts(page: Page) -> None:
    button = page.locator("#tenants-table").get_by_role("button", name="rows", exact=True)
    button.click()
    found = column(page, "rows")
    check(found == sorted(found, reverse=True) and found[0] > found[-1], f"the largest come first: {found}")
    th = button.locator("xpath=..")
    check(th.get_attribute("aria-sort") == "descending", "the header tells the order")
    check(page.locator("#tenants-table th[aria-sort]").count() == 1, "and no other does")
    button.click()
    check(column(page, "rows") == sorted(found), "a second click turns it round")
    check("sorted by rows, ascending" in page.locator("section[aria-labelledby=tenants] .said").inner_text(), "it is said to those who hear it")
    page.locator("#tenants-table").get_by_role("button", name="tenant", exact=True).click()
    first = names(page)
    page.locator("#tenants-table").get_by_role("button", name="tenant", exact=True).click()
    check(names(page) == first[::-1], "names sort both ways")


def filters(page: Page) -> None:
    everybody = names(page)
    page.get_by_label("Name contains").fill("ALERT")
    check(names(page) == [HOSTILE[0]], f"one name has it: {names(page)}")
    check(page.locator("section[aria-labelledby=tenants] .said").inner_text().startswith(f"1 of {len(everybody)} tenants"), "the number is said")
    page.get_by_label("Name contains").fill("")
    page.get_by_label("only those to look at").check()
    check(sorted(names(page)) == ODD, f"one has a file in quarantine, one fails: {names(page)}")
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
    check(page.locator("script").count() == 1 and page.locator("#tenants-table").locator("b, script, img, svg").count() == 0, "and are no markup")


def understood(page: Page) -> None:
    """What a screen reader finds."""
    check(page.locator("html").get_attribute("lang") == "en" and page.locator("h1").count() == 1, "language and title")
    for table in page.locator("table").all():
        check(table.locator("caption").count() == 1, "each table has a caption")
        check(table.locator("thead th:not([scope=col])").count() == 0, "each header says what it is of")
        check(table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count(), "each row has a header")
    for svg in page.locator("svg.whole").all():
        check(bool(svg.get_attribute("aria-label")) and svg.get_attribute("role") == "img", "each chart has a name")
    check(page.locator("svg:not(.whole):not(.whole svg)").count() == 0, "and nothing else is a picture")
    ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    check(len(ids) == len(set(ids)), f"each name is one element's: {ids}")
    named = page.locator("[aria-labelledby]").evaluate_all("all => all.map(e => e.getAttribute('aria-labelledby'))")
    check(set(named) <= set(ids), f"what is named by something is: {set(named) - set(ids)}")
    check(page.locator("input:not([id])").count() == 0 and page.locator("label").count() == 2, "each input has a label")


LUMINANCE = """([selector, property]) => {
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (rgb) => { const [r, g, b] = rgb.match(/[0-9.]+/g).map(Number).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  const words = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  return [...document.querySelectorAll(selector)].filter((e) => property !== 'color' || words(e)).map((e) => {
    const own = property === 'color' && e.closest('svg') ? 'fill' : property;
    const [a, b] = [light(getComputedStyle(e)[own]), light(behind(e))].sort((x, y) => y - x);
    return [e.outerHTML.slice(0, 120), (a + 0.05) / (b + 0.05)];
  });
}"""


def contrast(page: Page) -> None:
    texts = page.evaluate(LUMINANCE, ["body, body :not(script, title)", "color"])
    check(len(texts) > 100, f"all that has words: {len(texts)}")
    for text, ratio in texts:
        check(ratio >= 4.5, f"{text} has a contrast of {ratio:.2f}, 4.5 is the least for text")
    for selector, what in [(".bar", "fill"), (".dot", "fill"), (".line", "stroke")]:
        for text, ratio in page.evaluate(LUMINANCE, [selector, what]):
            check(ratio >= 3.0, f"{text} has a contrast of {ratio:.2f}, 3 is the least for a figure")


# What is wider than the window, or is cut: outside of a box that scrolls, and of what only a screen
# reader finds.
CUT = """() => {
  const shown = [...document.querySelectorAll('body *')].filter((e) => !e.closest('.sr, .skip, .words thead, title, script'));
  const cut = shown.filter((e) => {
    const box = e.getBoundingClientRect();
    const scrolls = e.parentElement.closest('.wide');
    return box.width > 0 && !scrolls && (box.left < -0.5 || box.right > innerWidth + 0.5);
  });
  return cut.map((e) => e.outerHTML.slice(0, 120));
}"""


def fits(page: Page, width: int) -> None:
    check(page.evaluate("document.documentElement.scrollWidth") <= width, f"the page is wider than {width} pixels")
    check(page.evaluate(CUT) == [], f"cut at {width} pixels: {page.evaluate(CUT)}")
    if width >= 1280:
        wide = page.locator(".wide").evaluate_all("all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText.slice(0, 80))")
        check(wide == [], f"at {width} pixels each table is seen as a whole: {wide}")
    for box in page.locator(".wide").all():
        check(box.get_attribute("tabindex") == "0" and bool(box.get_attribute("aria-labelledby")), "a box that scrolls can be scrolled by keys")
    small = page.locator("svg text").evaluate_all("all => Math.min(...all.map(e => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a))")
    check(small >= 11, f"the words of charts are {small} pixels high")


def tile(page: Page, name: str) -> tuple[str, str]:
    found = page.locator(".tiles > div", has=page.locator("dt", has_text=re.compile(f"^{re.escape(name)}$")))
    value, note = found.locator("dd").all_inner_texts()
    return value, note


def amount(text: str) -> float:
    return float(text.removeprefix("under ").removeprefix("$"))


def near(said: str, wanted: float) -> bool:
    """Amounts have two digits that say something."""
    return abs(amount(said) - wanted) <= max(0.06 * wanted, 5.1e-7)


def number(text: str) -> int:
    return int(text.replace(",", "")) if text else 0


def cell(page: Page, table: str, tenant: str, title: str) -> list[str]:
    """The lines of a cell."""
    headers = [text.strip(" ↑↓") for text in page.locator(f"#{table}-table thead th").all_inner_texts()]
    row = page.locator(f"#{table}-table tbody tr", has=page.locator("th", has_text=re.compile(f"^{re.escape(tenant)}$")))
    return row.locator(f":scope > :nth-child({headers.index(title) + 1})").inner_text().split("\n")


def told(page: Page, figures: dict) -> None:
    """What the page says, against what the files say."""
    tenants = figures["tenants"]
    money(page, figures)
    for name, wanted in tenants.items():
        folders = number(cell(page, "tenants", name, "folders")[0])
        check(folders == wanted["folders"], f"{name} has {wanted['folders']} folders: {folders}")
    system = tenants["system"]
    check(number(cell(page, "tenants", "system", "rows")[0]) == system["rows"], "all rows of system are in snapshots")
    for title in ("in 7 days", "in 30 days"):
        said = cell(page, "expiry", "system", title)[0].split(" to ")
        least, most = number(said[0]), number(said[-1])
        before, after = system[title]
        check(least <= after and before <= most and most > 0, f"{before} to {after} rows expire {title}: {said}")
    check(least == most == system["rows"], f"in 30 days all of them do: {said}")
    first = page.evaluate("t => new Date(t + 'Z').getTime() / 1000", cell(page, "expiry", "system", "next expiry")[0].replace(" ", "T"))
    check(first <= system["first"] < first + 60, f"the next expiry is the oldest row's: {first}, {system['first']}")
    attention = page.locator("section", has=page.locator("#attention")).inner_text()
    check("hooli" in attention and "no file of tenant `hooli` can be dated" in attention, f"who fails, and why: {attention}")
    check("globex/bad.parquet" in attention and "PAR1" in attention and "icepack run --tenant globex" in attention, f"what is set aside, why, and the way on: {attention}")
    check(tile(page, "tenants")[1] == "2 to look at", "and they are counted")
    check(cell(page, "tenants", "hooli", "state")[0].endswith("failed"), "a tenant that fails is not in order")
    check("all in order" not in page.locator("body").inner_text(), "and nothing says that it is")
    holds = page.locator("table[aria-labelledby=holds]").inner_text()
    check("restored-system" in holds and "all rows are back" in holds, f"what is held: {holds}")
    classes = page.locator("table[aria-labelledby=classes]").inner_text()
    check("umbrella/web" in classes and re.search("amount is (Int64 or Utf8|Utf8 or Int64)", classes) is not None, f"what tells classes apart: {classes}")


def money(page: Page, figures: dict) -> None:
    """By the prices of STANDARD: the archive is a directory, and has no class."""
    # As the settings of this store say.
    gb, hot = 2**30, 23_000
    held = sum(tenant["bytes"] for tenant in figures["tenants"].values())
    value, note = tile(page, "keeping the data files, a month")
    check(near(value, held / gb * hot) and "$23000.00 a GB" in note, f"{held} bytes are kept: {value}, {note}")
    archived = figures["archived"]
    value, note = tile(page, "the archive, a month")
    check(near(value, archived["bytes"] / gb * hot), f"{archived} is archived: {value}, {note}")
    check(note.startswith(f"{archived['objects']} object"), f"{archived} is archived: {note}")
    check(tile(page, "saved by archiving, a month")[0] == "$0", "one class is as dear as itself")


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("report", type=pathlib.Path)
    args.add_argument("--chromium", required=True)
    args.add_argument("--screenshots", type=pathlib.Path, required=True)
    args.add_argument("--figures", type=pathlib.Path)
    given = args.parse_args()
    given.screenshots.mkdir(parents=True, exist_ok=True)
    address = given.report.resolve().as_uri()
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        grounds = {}
        for scheme in ("light", "dark"):
            for width in (1280, 390):
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
                grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
                fits(page, width)
                understood(page)
                contrast(page)
                if given.figures:
                    told(page, json.loads(given.figures.read_text()))
                    escaped(page)
                    sorts(page)
                    filters(page)
                    keyboard(page)
                for name in page.locator("summary").all():
                    name.click()
                fits(page, width)
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
