import { run } from "./harness.mjs";

await run(
    async (visit) => {
        await visit.open("/swagger/");
        await visit.page.getByRole("button", { name: "POST /dps-submission/v1/disseminations", exact: false }).first().click();
        await visit.page.getByRole("button", { name: "Execute" }).or(visit.page.getByText("Request body")).first().waitFor();
        // The pages are Swagger's own: what they look like is not ours to judge.
        await visit.look("description", { rules: false });
    },
    { languages: ["en"], onPhone: false, withoutScript: false },
);
