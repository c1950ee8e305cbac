// People sign in at an OpenID Connect provider; what was tampered with signs nobody in.
import { run, task } from "./harness.mjs";

const { name } = task.facts;
const values = { issuer: name };

/** Goes to the provider, signs in there, and agrees, up to the page of the console behind it. */
async function authenticate(visit, login) {
    await visit.follow(visit.link("issuer-button", values));
    await agree(visit, login);
}

/** Signs in at the provider, whose pages are its own, and agrees. */
async function agree(visit, login) {
    await visit.page.locator("input[name=login]").fill(login);
    await visit.page.locator("input[name=password]").fill("any");
    await visit.follow(visit.page.locator("button[type=submit]"));
    await visit.follow(visit.page.locator("button[type=submit]"));
}

/** Begins once more as nobody. */
async function anew(visit) {
    await visit.page.context().clearCookies();
    await visit.open("/console/sign-in");
}

await run(
    async (visit) => {
        await visit.open("/console/sessions");
        await visit.look("issuer-sign-in");
        await authenticate(visit, "ada");
        await visit.page.getByRole("heading", { level: 1, name: visit.text("sessions-title") }).waitFor();
        await visit.page.getByText("2d17", { exact: true }).first().waitFor();
        await visit.look("issuer-sessions");
        await visit.follow(visit.button("sign-out"));
        await visit.shows("signed-out-here", values);
        await visit.look("signed-out");
        await visit.follow(visit.link("signed-out-there", values));
        await visit.follow(visit.page.locator("button[value=yes]"));
        await visit.field("sign-in-name").waitFor();

        for (const status of [400, 403]) visit.expect(status);
        await anew(visit);
        await authenticate(visit, "bob");
        await visit.shows("issuer-no-role", { name: "Bob" });
        await visit.look("issuer-no-role");

        await anew(visit);
        await visit.follow(visit.link("issuer-button", values));
        await visit.follow(visit.page.locator("a[href$=abort]"));
        await visit.shows("issuer-cancelled", values);

        // A state that this browser was not given.
        await anew(visit);
        await visit.follow(visit.link("issuer-button", values));
        await visit.page.locator("input[name=login]").waitFor();
        await visit.open("/console/sign-in/back?code=guessed&state=another");
        await visit.shows("issuer-not-begun");
        await visit.look("issuer-not-begun");

        // An ID token that was made for another sign-in.
        await anew(visit);
        const link = await visit.link("issuer-button", values).getAttribute("href");
        const begun = await visit.page.request.get(new URL(link, task.url).href, { maxRedirects: 0 });
        const altered = new URL(begun.headers().location);
        altered.searchParams.set("nonce", "another");
        await visit.page.goto(altered.href);
        await agree(visit, "ada");
        await visit.shows("issuer-not-believed", values);

        // A code that was exchanged before, by the browser that it was given to.
        await anew(visit);
        let answer;
        visit.page.on("request", (request) => {
            if (request.url().includes("/console/sign-in/back?")) answer ??= request.url();
        });
        await visit.follow(visit.link("issuer-button", values));
        const cookies = await visit.page.context().cookies(task.url);
        await agree(visit, "ada");
        await visit.button("sign-out").waitFor();
        await visit.page.context().clearCookies();
        await visit.page.context().addCookies(cookies);
        await visit.open(answer);
        await visit.shows("issuer-not-begun");
    },
    task.facts.once ? { languages: ["en"], onPhone: false, withoutScript: false } : {},
);
