"""Who may call and how much: keys, certificates, quotas, shares, and what is written down of it."""
