"""A mail server that keeps what it is given: prints its port, then one line of JSON for each message.

    mail_server.py CERTIFICATE KEY USER PASSWORD [CODE ...]

It speaks STARTTLS, and takes messages from USER alone and after that only. The first recipients are answered with the
CODEs, one after another; all others are accepted. What is printed of a message was read by Python's own parser.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

certificate, key, user, password, *codes = sys.argv[1:]


def tell(line):
    print(line, flush=True)


class Keeper:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if codes:
            code = codes.pop(0)
            tell(json.dumps({"refused": code}))
            return f"{code} not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        tell(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "tls": session.ssl is not None,
                    "headers": {name.lower(): str(value) for name, value in message.items()},
                    "body": message.get_content(),
                }
            )
        )
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and data == LoginPassword(user.encode(), password.encode())
    return AuthResult(success=right, handled=False)


def conversation():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return SMTP(
        Keeper(),
        tls_context=context,
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
        enable_SMTPUTF8=True,
    )


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(conversation, host="127.0.0.1", port=0)
    tell(str(server.sockets[0].getsockname()[1]))
    # Until whoever started it goes away.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(serve())
