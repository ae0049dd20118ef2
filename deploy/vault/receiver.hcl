# What a receiver may: read keyrings. For a store in the policy with
#   "mount": "secret", "prefix": "keyturn"
# To let a receiver read some secrets alone, name their paths instead of the *.
#   bao policy write keyturn-receiver receiver.hcl

path "secret/data/keyturn/*" {
  capabilities = ["read"]
}
