# What the orchestrator may: keyturn's commands and its cron job. For a store in the policy with
#   "mount": "secret", "prefix": "keyturn"
# Write another mount or prefix here as you write it there. The policy "default" stays beside it.
#   bao policy write keyturn-orchestrator orchestrator.hcl

# Keyrings, and plain copies (mirrors) beside them.
path "secret/data/keyturn/*" {
  capabilities = ["create", "read", "update"]
}

# Which versions there are: to erase the older ones, and to tell a key without a value from none.
path "secret/metadata/keyturn/*" {
  capabilities = ["read"]
}

# Takes away again what "keyturn doctor --write" made to try the store. No secret has such a name.
path "secret/metadata/keyturn/keyturn-doctor-*" {
  capabilities = ["read", "delete"]
}

# Erases older versions after a revoke. It is the one thing here that cannot be taken back.
path "secret/destroy/keyturn/*" {
  capabilities = ["update"]
}
