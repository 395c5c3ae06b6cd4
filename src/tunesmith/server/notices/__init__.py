"""Who is told of what happens to jobs and deployments, and how. Read `outbox.py` first.

`outbox.py` writes a notice in the transaction of what it tells; `delivery.py` sends what is due,
again and again where that fails; `channels.py` knows the ways, `chat.py` the ones through Apprise;
`addresses.py` what an address may be, `texts.py` the words, `signing.py` the proof.
"""
