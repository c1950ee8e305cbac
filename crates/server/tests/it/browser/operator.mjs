// An operator looks at what is stuck and why, steers orders, approves a deletion, sets a hold and lifts it, sees to contracts,
// clients and their webhooks, and reads the audit log.
import { run, task } from "./harness.mjs";

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
    await act(visit, "/holds", { object: `letters-${visit.number}`, reason: `case ${visit.number}` });
    await visit.look("operator-hold-set");
    const hold = page.locator("tr", { hasText: `case ${visit.number}` }).locator("form[action$='/lift']");
    await hold.locator("[name=reason]").fill("closed");
    await visit.follow(hold.locator("button"));
    await visit.open("/console/contracts");
    await act(visit, "/contracts/2d17/quota", { gigabytes: "5" });

    // A client, whose secret is shown this once.
    const name = `new-${visit.number}`;
    await visit.open("/console/clients");
    await act(visit, "/clients", { client: name, contract: "2d17", role: "read" });
    const secret = await page.locator(".secret").innerText();
    await visit.look("operator-client-added");
    await visit.open(`/console/clients/${name}`);
    await act(visit, `/clients/${name}/webhooks`, { url: "https://example.org/hook" });
    await visit.open(`/console/clients/${name}`);
    await visit.look("operator-client");
    if ((await page.content()).includes(secret)) visit.found("the secret is shown again");
    await act(visit, `/clients/${name}/grants`, { contract: "2d17", role: "write" });
    await act(visit, `/clients/${name}/enable`);

    await visit.open("/console/audit");
    await page.getByText("client olga").first().waitFor();
    await act(visit, "/audit/verify");
    await visit.look("operator-audit-verified");
    // Of the pages of depositors, an operator with the role to read has all.
    await visit.open("/console/packages");
    await visit.look("operator-packages");
});
