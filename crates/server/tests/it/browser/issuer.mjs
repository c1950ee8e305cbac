// An OpenID Connect provider for a test: oidc-provider, on a port of its own. It tells its address in one line, then reads
// one line of JSON: client (as oidc-provider knows it), idToken (whether ID tokens tell all about a person), and accounts
// (what is told of each). It ends with its standard input.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const load = createRequire(join(process.argv[2], "node_modules", "x"));
const { default: Provider } = await import(pathToFileURL(load.resolve("oidc-provider")).href);

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(issuer);

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
    const { client, accounts, idToken } = JSON.parse(line);
    const provider = new Provider(issuer, {
        clients: [client],
        claims: { openid: ["sub"], profile: ["name", "preferred_username"], roles: ["realm_access"] },
        conformIdTokenClaims: !idToken,
        findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
        pkce: { required: () => true },
        cookies: { keys: ["for the tests alone"] },
    });
    server.on("request", provider.callback());
    console.log("ready");
});
lines.once("close", () => process.exit(0));
