// A depositor finds a package, looks into it, orders it whole, a version of it and parts of it, follows the order, fetches what
// is delivered, gives it back or withdraws it, and sees what lies in the outgoing area and what webhooks were told.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { ask, run, task, undisturbed } from "./harness.mjs";

async function md5(path) {
    const hash = createHash("md5");
    for await (const part of createReadStream(path)) hash.update(part);
    return hash.digest("hex");
}

/** Waits until the page of an order tells a state: by itself with a script, otherwise by loading it again. */
async function stands(visit, state) {
    const told = visit.page.locator(".state", { hasText: visit.text(state) });
    if (visit.script) return await told.first().waitFor();
    await visit.page.reload();
    await told.first().waitFor();
}

await run(async (visit) => {
    const { page } = visit;
    const name = `estate/Ibsen-${visit.number}`;
    await visit.signIn(task.facts.client, "/packages");
    await visit.look("packages");
    await visit.field("packages-search").fill(name);
    await visit.choose("packages-state", "packages-state-preserved");
    await visit.follow(visit.button("packages-find"));
    await visit.look("packages-found");
    await visit.field("packages-search").fill("no such package");
    await visit.follow(visit.button("packages-find"));
    await visit.shows("packages-none");
    await visit.look("packages-none");
    await visit.field("packages-search").fill(name);
    await visit.field("packages-until").fill("2001-01-01");
    await visit.follow(visit.button("packages-find"));
    await visit.shows("packages-none");
    await visit.field("packages-from").fill("2001-01-01");
    await visit.field("packages-until").fill("");
    await visit.follow(visit.button("packages-find"));
    await visit.follow(page.getByRole("link", { name, exact: true }));
    await visit.look("package");
    const identifier = await page.locator("dl.facts dd.code").first().innerText();
    await visit.open("/console/packages");
    await visit.field("packages-search").fill(identifier);
    await visit.follow(visit.button("packages-find"));
    await visit.follow(page.getByRole("link", { name, exact: true }));

    // A version, and not after all.
    await page.locator("select[name=version]").selectOption("1");
    await undisturbed(async () => {
        await visit.follow(visit.button("ordering-order"));
        await visit.follow(visit.button("order-cancel"));
    });
    await page.locator(".state", { hasText: visit.text("orders-state-cancelled") }).first().waitFor();
    await visit.follow(page.getByRole("link", { name, exact: true }));

    // The whole, followed while it is prepared, fetched, and fetched again from the middle.
    await visit.choose("ordering-channel", "orders-channel-link");
    await undisturbed(async () => {
        await visit.follow(visit.button("ordering-order"));
        await visit.shows("ordering-done");
        await page.locator(".state", { hasText: visit.text("orders-state-received") }).first().waitFor();
        await visit.look("order-received");
    });
    if (visit.script) await page.evaluate(() => (globalThis.neverLoadedAgain = true));
    await ask("work");
    await stands(visit, "orders-state-delivered");
    if (visit.script && !(await page.evaluate(() => globalThis.neverLoadedAgain))) visit.found("the page was loaded again");
    await visit.look("order-delivered");
    const link = page.locator("a[download]").first();
    const fetched = await md5(await visit.download(link));
    await page.getByText(fetched).first().waitFor();
    const rest = await page.request.get(await link.getAttribute("href"), { headers: { range: "bytes=1000-" } });
    if (rest.status() !== 206) visit.found(`a download cannot be resumed: ${rest.status()}`);
    await visit.follow(visit.link("receipt-title"));
    await page.getByText(fetched).first().waitFor();
    await visit.look("receipt");
    await page.emulateMedia({ media: "print" });
    await visit.picture("receipt-printed");
    await page.emulateMedia({ media: "screen" });
    await page.goBack();
    await visit.follow(visit.button("order-renew"));
    await visit.shows("order-renewed");
    await visit.follow(visit.button("order-give-back"));
    await visit.shows("order-was-given-back");
    await visit.look("order-given-back");

    // Chosen files and a folder, into the area.
    await visit.follow(page.getByRole("link", { name, exact: true }));
    await visit.follow(visit.link("ordering-choose"));
    await visit.look("files");
    const alone = await visit.download(page.getByRole("link", { name: "readme.txt", exact: true }));
    if (createHash("md5").update("read me").digest("hex") !== (await md5(alone))) visit.found("a file by itself is another");
    await visit.follow(visit.button("folder-order-chosen"));
    await visit.shows("ordering-nothing");
    await page.locator("input[value='readme.txt']").check();
    await visit.follow(page.getByRole("button", { name: "letters/", exact: true }));
    await visit.look("files-in-folder");
    await page.locator("input[value='letters/1850']").check();
    await visit.follow(visit.button("folder-top"));
    await page.locator("details", { hasText: "letters/1850/" }).first().waitFor();
    if (!(await page.locator("input[value='readme.txt']").isChecked())) visit.found("a tick is gone on the way back");
    await visit.look("files-ticked");
    await visit.choose("ordering-channel", "orders-channel-area");
    await visit.follow(visit.button("folder-order-chosen"));
    await visit.shows("ordering-done");
    await ask("work");
    await stands(visit, "orders-state-delivered");
    await page.getByText("letters/1850/", { exact: true }).first().waitFor({ state: "attached" });
    await visit.look("order-in-area");
    await visit.open("/console/outgoing");
    await visit.look("outgoing");
    await visit.download(page.locator("a[download]").first());
    await visit.open("/console/orders");
    await visit.look("orders");
    await visit.choose("orders-state", "orders-delivered");
    await visit.follow(visit.button("folder-show"));

    await visit.open("/console/webhooks");
    await visit.look("webhooks");
    await visit.follow(page.locator("tbody a").first());
    await visit.look("webhook");
    await visit.follow(page.locator("button[aria-label]", { hasText: visit.text("webhook-replay") }).first());
    await visit.shows("webhook-replayed");
});
