// Drives Chromium through a scenario, in each language, in a wide window and on a phone, there also without JavaScript, and
// judges every page that the scenario looks at. With JavaScript it is accessible by axe's rules for WCAG 2.2 AA, in the light
// and in the dark. No page is wider than its window, asks anything of another host, or says anything on the console. Pictures of
// all of it are kept.
//
// `browser/mod.rs` starts the scenario as `node SCENARIO.mjs` and hands over, as a line of JSON on the standard input:
// modules (where npm put its packages), url (of the server), screenshots (a directory), locales (the directory of the
// console's texts), and facts (what this scenario needs to know). Whatever is found is told on the standard error, and the
// exit status is then 1.
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const task = JSON.parse((await lines.next()).value);
/** Loads a package of tests/peers/browser. */
export const load = createRequire(join(task.modules, "node_modules", "x"));

const { chromium } = load("playwright-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");

/** The shell without windows costs half of what the whole browser does. */
const PROGRAM = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"].find((path) => existsSync(path));
const LANGUAGES = ["en", "nb", "de"];
const WIDTHS = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
/** The rule that takes longest. Colours are the same in every language and at every width, so it is applied once to each page. */
const COLOURS = "color-contrast";
/** The rules that what is laid out in another width may break. */
const LAYOUT = ["target-size", "scrollable-region-focusable"];
const ARGUMENTS = [
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking",
    "--disable-component-update --disable-sync --disable-dev-shm-usage --force-color-profile=srgb",
].join(" ").split(" ");
/** Nobody but this machine is reached, whatever a page asks for. */
const ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
/** The longest that a page may take. Nothing takes that long when all is well. */
const PATIENCE = 30_000;

const findings = [];

let turn = Promise.resolve();

/** Does something while no other round has the server do anything of its own accord. */
export function undisturbed(act) {
    const done = turn.then(act);
    turn = done.catch(() => {});
    return done;
}

/** Has the test do something on the server's side, and waits until it is done. */
export function ask(what) {
    return undisturbed(async () => {
        console.log(what);
        await lines.next();
    });
}

/**
 * Runs a scenario in each language: in a wide window, on a phone, and there without JavaScript.
 * @param {(visit: Visit) => Promise<void>} scenario
 */
export async function run(scenario, { languages = LANGUAGES, onPhone = true, withoutScript = true } = {}) {
    mkdirSync(task.screenshots, { recursive: true });
    const ways = [{ width: "desktop", script: true }];
    if (onPhone) ways.push({ width: "phone", script: true });
    if (withoutScript) ways.push({ width: "phone", script: false });
    const rounds = ways.flatMap((way) => languages.map((language) => ({ language, ...way })));
    const browser = await chromium.launch({
        executablePath: PROGRAM,
        args: [...ARGUMENTS, ALONE],
        timeout: PATIENCE,
    });
    // The machine has a core for the server and one for the browser: two rounds at a time keep both busy.
    const next = rounds.entries();
    const lane = async () => {
        for (const [number, round] of next) {
            const visit = await Visit.begin(browser, { ...round, number });
            try {
                await scenario(visit);
            } catch (error) {
                visit.found(error.stack ?? String(error));
                await visit.picture("broken").catch(() => {});
            }
            await visit.end();
        }
    };
    await Promise.all([lane(), lane()]);
    await browser.close();
    process.stdin.destroy();
    if (findings.length > 0) {
        console.error(findings.join("\n\n"));
        process.exit(1);
    }
}

/** One person's way through the pages, in one language and at one width. */
class Visit {
    /** The number of this round, for what has to be different in each. */
    number;
    /** en, nb or de. */
    language;
    /** desktop or phone. */
    width;
    /** Whether the browser runs scripts. */
    script;
    /** The page, as Playwright knows it. */
    page;
    #context;
    #messages = [];
    #refusals = new Set();
    #texts;

    static async begin(browser, round) {
        const visit = Object.assign(new Visit(), round);
        visit.#texts = texts(round.language);
        visit.#context = await browser.newContext({
            viewport: WIDTHS[round.width],
            locale: { en: "en-GB", nb: "nb-NO", de: "de-DE" }[round.language],
            timezoneId: "Europe/Oslo",
            javaScriptEnabled: round.script,
            hasTouch: round.width === "phone",
            reducedMotion: "reduce",
        });
        visit.#context.setDefaultTimeout(PATIENCE);
        visit.page = await visit.#context.newPage();
        visit.#listen();
        return visit;
    }

    /** The text of a key in the language of this visit, with these values put into it. */
    text(key, values = {}) {
        const text = this.#texts.get(key)?.replace(/\{ *\$(\w+) *\}/g, (_, name) => values[name]);
        if (text === undefined || text.includes("{")) throw new Error(`${key} is no plain text in ${this.language}`);
        return text;
    }

    /** Goes to a path of the server. */
    async open(path) {
        return await this.page.goto(new URL(path, task.url).href);
    }

    /** What is pressed next may be refused with this status, without that being taken for a fault. */
    expect(status) {
        this.#refusals.add(status);
    }

    /** Follows a link or presses a button, and waits for the page behind it. */
    async follow(locator) {
        await Promise.all([this.page.waitForEvent("load"), locator.click()]);
    }

    /** Presses what something is fetched with; where it lies then. */
    async download(locator) {
        const [download] = await Promise.all([this.page.waitForEvent("download"), locator.click()]);
        return await download.path();
    }

    button(key, values) {
        return this.page.getByRole("button", { name: this.text(key, values), exact: true });
    }

    link(key, values) {
        return this.page.getByRole("link", { name: this.text(key, values), exact: true });
    }

    field(key) {
        return this.page.getByLabel(this.text(key), { exact: true });
    }

    /** Chooses among what a field offers, by the key of its text. */
    async choose(key, choice) {
        await this.field(key).selectOption({ label: this.text(choice) });
    }

    /** Waits until the page shows a text. */
    async shows(key, values) {
        await this.page.getByText(this.text(key, values), { exact: true }).first().waitFor();
    }

    /** Signs in with the name and secret of a client, and goes to a path. */
    async signIn(client, path = "") {
        await this.open(`/console/sign-in?next=${encodeURIComponent(`/console${path}`)}`);
        await this.field("sign-in-name").fill(client.id);
        await this.field("sign-in-secret").fill(client.secret);
        await this.follow(this.button("sign-in"));
    }

    /** Judges the page as it is, and keeps pictures of it. Without the rules, of pages that are somebody else's, a picture
     * alone. */
    async look(name, { rules = true } = {}) {
        if (rules) {
            const language = await this.page.locator("html").getAttribute("lang");
            if (language !== this.language) this.found(`${name}: calls its language ${language}`);
        }
        if (!rules || !this.script) return await this.#seen(name);
        const isFirst = this.language === LANGUAGES[0];
        if (this.width === "phone") {
            await this.#accessible(name, { runOnly: LAYOUT });
            return await this.#seen(name);
        }
        await this.#accessible(name, { runOnly: { type: "tag", values: TAGS }, rules: { [COLOURS]: { enabled: isFirst } } });
        await this.#seen(name);
        if (isFirst) {
            await this.page.emulateMedia({ colorScheme: "dark" });
            await this.#accessible(`${name}-dark`, { runOnly: [COLOURS] });
            await this.picture(`${name}-dark`);
            await this.page.emulateMedia({ colorScheme: "light" });
        }
    }

    /** Of the whole page in one language, of what fits into the window in the others: drawing long pages costs most. */
    async picture(name) {
        const [script, fullPage] = this.script ? ["", this.language === LANGUAGES[0]] : ["-noscript", false];
        const path = join(task.screenshots, `${this.language}-${this.width}-${name}${script}.jpeg`);
        await this.page.screenshot({ path, type: "jpeg", quality: 60, fullPage });
    }

    found(what) {
        const script = this.script ? "" : ", without JavaScript";
        findings.push(`[${this.language}, ${this.width}${script}] ${this.page.url()}\n${what}`);
    }

    async end() {
        for (const message of this.#messages.map((message) => message()).filter(Boolean)) this.found(message);
        await this.#context.close();
    }

    /** Keeps a picture of the page, which may be no wider than its window. */
    async #seen(name) {
        await this.picture(name);
        const [inner, scrolled] = await this.page.evaluate(() => {
            return [document.documentElement.clientWidth, document.documentElement.scrollWidth];
        });
        if (scrolled > inner) this.found(`${name}: is ${scrolled} pixels wide in a window of ${inner}`);
    }

    async #accessible(name, options) {
        if (!(await this.page.evaluate(() => "axe" in globalThis))) await this.page.evaluate(axe);
        const result = await this.page.evaluate((options) => {
            return globalThis.axe.run(document, { ...options, resultTypes: ["violations"], preload: false });
        }, options);
        for (const violation of result.violations) {
            const nodes = violation.nodes.map((node) => `  ${node.html}\n    ${node.failureSummary.replaceAll("\n", "\n    ")}`);
            this.found(`${name}: ${violation.id}: ${violation.help}\n${nodes.join("\n")}`);
        }
    }

    #listen() {
        const host = new URL(task.url).host;
        // What other servers' pages do, to which ours lead, is not ours to judge.
        const isOurs = (url) => new URL(url).host === host;
        this.#context.on("request", (request) => {
            const url = new URL(request.url());
            const from = request.isNavigationRequest() ? undefined : request.frame().url();
            if (url.protocol !== "data:" && url.host !== host && from && isOurs(from)) {
                this.#messages.push(() => `asks another host: ${url}`);
            }
        });
        this.#context.on("response", (response) => {
            const [status, url] = [response.status(), response.url()];
            if (status >= 400 && isOurs(url)) this.#messages.push(() => (this.#refusals.has(status) ? undefined : `${status} for ${url}`));
        });
        this.page.on("console", (message) => {
            // What was refused is looked at above.
            const refused = message.text().startsWith("Failed to load resource");
            if (["error", "warning"].includes(message.type()) && !refused && isOurs(this.page.url())) this.#messages.push(() => `console: ${message.text()}`);
        });
        this.page.on("pageerror", (error) => this.#messages.push(() => `script: ${error.stack}`));
    }
}

/** The plain texts of a language, by their keys. */
function texts(language) {
    const [found, folder] = [new Map(), join(task.locales, language)];
    for (const file of readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(".ftl"))) {
        for (const [, key, text] of readFileSync(join(folder, file), "utf8").matchAll(/^([a-z][\w-]*) *= *(.+)$/gm)) found.set(key, text);
    }
    return found;
}
