// Somebody signs in with the name and secret of a client, looks where they are signed in, and signs out.
import { run, task } from "./harness.mjs";

await run(async (visit) => {
    const client = task.facts.client;
    await visit.open("/console/sessions");
    await visit.look("sign-in");
    visit.expect(401);
    await visit.field("sign-in-name").fill(client.id);
    await visit.field("sign-in-secret").fill("guessed");
    await visit.follow(visit.button("sign-in"));
    await visit.shows("sign-in-wrong");
    await visit.look("sign-in-wrong");

    await visit.field("sign-in-secret").fill(client.secret);
    await visit.follow(visit.button("sign-in"));
    await visit.page.getByRole("heading", { level: 1, name: visit.text("sessions-title") }).waitFor();
    await visit.look("sessions");

    visit.expect(404);
    await visit.open("/console/nowhere");
    await visit.shows("refusal-404");
    await visit.look("not-found");

    // From one language to the next and back, and into the dark, on the page where one is.
    await visit.open("/console/sessions");
    const [own, other] = visit.language === "de" ? ["Deutsch", "English"] : [visit.language === "nb" ? "Norsk" : "English", "Deutsch"];
    await visit.follow(visit.page.getByRole("button", { name: other, exact: true }));
    await visit.page.locator(`html[lang=${other === "Deutsch" ? "de" : "en"}]`).waitFor();
    await visit.follow(visit.page.getByRole("button", { name: own, exact: true }));
    await visit.follow(visit.button("theme-dark"));
    await visit.page.locator("html[data-theme=dark]").waitFor();
    await visit.look("sessions-always-dark");

    await visit.follow(visit.button("sign-out"));
    await visit.shows("sign-out-done");
    await visit.open("/console/sessions");
    await visit.field("sign-in-name").waitFor();
});
