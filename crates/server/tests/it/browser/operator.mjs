// An operator looks at what is stuck and why, steers orders and those that failed, approves and withdraws deletions, sets a hold
// and lifts it, sees to contracts, clients, their keys and webhooks, and reads the audit log.
import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { run, task } from "./harness.mjs";

/** A new public key as a line of `authorized_keys`. */
function key(comment) {
    const { x } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
    const parts = [Buffer.from("ssh-ed25519"), Buffer.from(x, "base64url")];
    const blob = parts.flatMap((part) => [Buffer.from([0, 0, 0, part.length]), part]);
    return `ssh-ed25519 ${Buffer.concat(blob).toString("base64")} ${comment}`;
}

/** Fills in the form that goes to an address, sends it, and expects that it was done. */
async function act(visit, action, fields = {}) {
    const form = visit.page.locator(`form[method=post][action="/console${action}"]`).first();
    for (const [name, value] of Object.entries(fields)) {
        const field = form.locator(`[name="${name}"]`);
        const isChoice = await field.evaluate((field) => field.tagName === "SELECT");
        await (isChoice ? field.selectOption(value) : field.fill(value));
    }
    await visit.follow(form.locator("button"));
    if (await visit.page.locator(".note.failure").count()) visit.found(`${action}: ${await visit.page.locator(".note").first().innerText()}`);
}

await run(async (visit) => {
    const { page } = visit;
    const mine = (list) => task.facts[list][visit.number];
    await visit.signIn(task.facts.client, "");
    await page.getByRole("heading", { level: 1, name: visit.text("operations-title") }).waitFor();
    await visit.look("operations");
    await act(visit, `/operations/${mine("orders")}/priority`, { priority: "77" });
    await visit.look("operations-moved");
    await act(visit, `/operations/${mine("orders")}/cancel`);
    await act(visit, `/operations/${mine("mended")}/retry`);
    await act(visit, `/operations/${mine("failed")}/dismiss`);
    if (await page.locator(`form[action$="/${mine("failed")}/dismiss"]`).count()) visit.found("what needs nothing more is still told of");
    for (const name of ["processes", "gateways", "fixity", "deliveries", "deletions", "contracts", "clients", "audit"]) {
        await visit.open(`/console/${name}`);
        for (const details of await page.locator("figure details").all()) await details.locator("summary").click();
        await visit.look(`operator-${name}`);
    }
    await visit.open("/console/fixity");
    await act(visit, await page.locator("form[action$='/verify']").first().evaluate((form) => form.getAttribute("action").slice("/console".length)));
    await visit.open("/console/deliveries");
    await act(visit, `/operations/${mine("delivered")}/cancel`);
    await visit.open("/console/deletions");
    await act(visit, `/deletions/${mine("deletions")}/approve`);
    await act(visit, `/deletions/${mine("unwanted")}/withdraw`);
    await act(visit, "/holds", { object: `letters-${visit.number}`, reason: `case ${visit.number}` });
    await visit.look("operator-hold-set");
    const hold = page.locator("tr", { hasText: `case ${visit.number}` }).locator("form[action$='/lift']");
    await hold.locator("[name=reason]").fill("closed");
    await visit.follow(hold.locator("button"));
    await visit.open("/console/contracts");
    await act(visit, "/contracts/2d17/quota", { gigabytes: "5" });
    await act(visit, "/contracts/2d17/correspondence", { address: "archive@example.org", language: visit.language });

    // A client, whose secret is shown this once.
    const name = `new-${visit.number}`;
    await visit.open("/console/clients");
    await act(visit, "/clients", { client: name, contract: "2d17", role: "read" });
    const secret = await page.locator(".secret").innerText();
    await visit.look("operator-client-added");
    await visit.open(`/console/clients/${name}`);
    const [client, line] = [`/clients/${name}`, key("at work")];
    await act(visit, `${client}/keys`, { key: line });
    await act(visit, `${client}/webhooks`, { url: "https://example.org/hook" });
    const webhook = await page.locator("form[action*='/webhooks/'][action$='/enable']").getAttribute("action");
    await visit.open(`/console${client}`);
    await visit.look("operator-client");
    if ((await page.content()).includes(secret)) visit.found("the secret is shown again");
    await act(visit, `${client}/secret`);
    if ((await page.locator(".secret").innerText()) === secret) visit.found("the new secret is the old one");
    for (const name of ["enable", "secret", "remove"]) await act(visit, webhook.replace(/^\/console/, "").replace(/enable$/, name));
    await visit.shows("clients-webhooks-empty");
    await act(visit, `${client}/keys/remove`);
    await visit.shows("clients-keys-empty");
    await act(visit, `${client}/grants`, { contract: "2d17", role: "write" });
    await act(visit, `${client}/enable`);
    await act(visit, `${client}/revoke`);

    await visit.open("/console/audit");
    await page.getByText(visit.text("told-agent-client", { name: "olga" })).first().waitFor();
    await act(visit, "/audit/verify");
    await visit.look("operator-audit-verified");
    const log = await readFile(await visit.download(visit.link("audit-export-json")), "utf8");
    if (!log.includes("client olga")) visit.found("the log that is taken away is another");
    // Of the pages of depositors, an operator with the role to read has all.
    await visit.open("/console/packages");
    await visit.look("operator-packages");
});
