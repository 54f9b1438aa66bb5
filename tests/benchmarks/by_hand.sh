#!/usr/bin/env bash
# Steps 1 to 5 as a practitioner writes them with az, kubectl and psql: what compare.py measures the library against.
#
#   by_hand.sh NAME MANIFESTS
#
# makes what an environment file with the defaults describes, under NAME. It needs a signed-in az, and goes one command
# after another, as most such scripts do; those that Azure lets go on by themselves are begun with --no-wait.
set -euo pipefail
name=$1 manifests=$2 location=westeurope
vault=kv-$name registry=acr$name server=pg-$name redis=redis-$name
redis_api=2025-07-01
export NAMESPACE=airflow TENANT_ID VAULT=$vault

password() { openssl rand -hex 36; }
again() { until "$@" 2> /dev/null; do sleep 1; done; } # Entra's replicas are behind
value() { az "$@" --output tsv; }
apply() { envsubst < "$1" | kubectl apply --server-side --filename - > /dev/null; }

# Step 1
subscription=$(value account show --query id)
TENANT_ID=$(value account show --query tenantId)
operator=$(value ad sp show --id "$AZURE_CLIENT_ID" --query id)
for namespace in Cache ContainerRegistry ContainerService DBforPostgreSQL KeyVault ManagedIdentity Storage; do
  az provider register --namespace "Microsoft.$namespace" --wait > /dev/null
done
group=/subscriptions/$subscription/resourceGroups/$name
az group create --name "$name" --location $location > /dev/null
admins=$(value ad group create --display-name "$name-admins" --mail-nickname "$name-admins" --query id)
developers=$(value ad group create --display-name "$name-developers" --mail-nickname "$name-developers" --query id)
again az ad group member add --group "$admins" --member-id "$operator"
identity=$(value identity create --resource-group "$name" --name "$name-cluster" --query id)
az postgres flexible-server create --resource-group "$name" --name "$server" --location $location --version 17 \
  --tier GeneralPurpose --sku-name Standard_D2ds_v5 --storage-size 64 --public-access Enabled \
  --microsoft-entra-auth Enabled --admin-user unused --admin-password="$(password)aA1!" --yes > /dev/null &
postgresql=$!
az rest --method put --url "$group/providers/Microsoft.Cache/redisEnterprise/$redis?api-version=$redis_api" \
  --body '{"location": "'$location'", "sku": {"name": "Balanced_B0"}, "properties": {"publicNetworkAccess": "Enabled"}}' \
  > /dev/null
az aks create --resource-group "$name" --name "$name" --location $location --kubernetes-version 1.35 --tier standard \
  --assign-identity "$identity" --enable-aad --enable-azure-rbac --aad-admin-group-object-ids "$admins" \
  --disable-local-accounts --enable-oidc-issuer --enable-workload-identity --enable-keda \
  --enable-addons azure-keyvault-secrets-provider --enable-secret-rotation --network-plugin azure \
  --network-plugin-mode overlay --network-dataplane cilium --nodepool-name airflow --node-vm-size Standard_D4ds_v5 \
  --node-osdisk-type Ephemeral --enable-cluster-autoscaler --min-count 2 --max-count 5 --zones 1 2 3 --no-ssh-key \
  --auto-upgrade-channel patch --node-os-upgrade-channel NodeImage > /dev/null
for window in aksManagedAutoUpgradeSchedule aksManagedNodeOSUpgradeSchedule; do
  az aks maintenanceconfiguration add --resource-group "$name" --cluster-name "$name" --name $window \
    --schedule-type Weekly --day-of-week Sunday --interval-weeks 1 --start-time 00:00 --duration 8 > /dev/null
done
again az role assignment create --role "Azure Kubernetes Service Cluster User Role" --assignee-object-id "$developers" \
  --assignee-principal-type Group --scope "$group/providers/Microsoft.ContainerService/managedClusters/$name" > /dev/null
eval "$CREDENTIALS" # in place of az aks get-credentials and kubelogin
kubectl config use-context "$name" > /dev/null
export DEVELOPERS_GROUP=$developers
for manifest in "$manifests"/01_cluster/*.yaml; do apply "$manifest"; done

# Step 2
az acr create --resource-group "$name" --name "$registry" --sku Standard > /dev/null
az acr import --name "$registry" --source docker.io/apache/airflow:3.3.2 --image airflow:3.3.2
kubelet=$(value aks show --resource-group "$name" --name "$name" --query identityProfile.kubeletidentity.objectId)
again az role assignment create --role AcrPull --assignee-object-id "$kubelet" --assignee-principal-type ServicePrincipal \
  --scope "$group/providers/Microsoft.ContainerRegistry/registries/$registry" > /dev/null

# Step 3
wait $postgresql
az postgres flexible-server microsoft-entra-admin create --resource-group "$name" --server-name "$server" \
  --display-name "$name-admins" --object-id "$admins" --type Group > /dev/null
outbound=$(value aks show --resource-group "$name" --name "$name" \
  --query 'networkProfile.loadBalancerProfile.effectiveOutboundIPs[0].id')
address=$(value network public-ip show --ids "$outbound" --query ipAddress)
az postgres flexible-server firewall-rule create --resource-group "$name" --server-name "$server" --name cluster \
  --start-ip-address "$address" > /dev/null
az postgres flexible-server firewall-rule create --resource-group "$name" --server-name "$server" --name here \
  --start-ip-address 127.0.0.1 > /dev/null
az resource wait --created --interval 1 --api-version $redis_api \
  --ids "$group/providers/Microsoft.Cache/redisEnterprise/$redis"
az rest --method put \
  --url "$group/providers/Microsoft.Cache/redisEnterprise/$redis/databases/default?api-version=$redis_api" \
  --body '{"properties": {"clusteringPolicy": "NoCluster", "accessKeysAuthentication": "Enabled"}}' > /dev/null
az resource wait --created --interval 1 --api-version $redis_api \
  --ids "$group/providers/Microsoft.Cache/redisEnterprise/$redis/databases/default"
host=$(value postgres flexible-server show --resource-group "$name" --name "$server" --query fullyQualifiedDomainName)
port=5432
[[ $host == *:* ]] && port=${host##*:} host=${host%%:*} # the rehearsal's answer has a port
export PGHOST=$host PGPORT=$port PGUSER=$name-admins PGSSLMODE=verify-full PGSSLROOTCERT=$REQUESTS_CA_BUNDLE
PGPASSWORD=$(value account get-access-token --resource-type oss-rdbms --query accessToken)
export PGPASSWORD
airflow=$(password) celery=$(password)
for role in airflow:$airflow celery:$celery; do
  psql --quiet --dbname postgres --set ON_ERROR_STOP=1 <<SQL
CREATE ROLE ${role%%:*} LOGIN PASSWORD '${role#*:}';
GRANT ${role%%:*} TO CURRENT_USER;
CREATE DATABASE ${role%%:*} OWNER ${role%%:*};
REVOKE ALL ON DATABASE ${role%%:*} FROM PUBLIC;
SQL
  psql --quiet --dbname "${role%%:*}" --command "GRANT ALL ON SCHEMA public TO ${role%%:*}" 2> /dev/null
done

# Step 4
az keyvault create --resource-group "$name" --name "$vault" --location $location > /dev/null
again az role assignment create --role "Key Vault Secrets Officer" --assignee-object-id "$operator" \
  --assignee-principal-type ServicePrincipal --scope "$group/providers/Microsoft.KeyVault/vaults/$vault" > /dev/null
key=$(value rest --method post --query primaryKey --url \
  "$group/providers/Microsoft.Cache/redisEnterprise/$redis/databases/default/listKeys?api-version=$redis_api")
broker=$(value rest --method get --query "join(':', [properties.hostName, '10000'])" \
  --url "$group/providers/Microsoft.Cache/redisEnterprise/$redis?api-version=$redis_api")
secret() { az keyvault secret set --vault-name "$vault" --name "$1" --value="$2" > /dev/null; }
secret airflow-fernet-key "$(openssl rand -base64 32 | tr '+/' '-_')"
secret airflow-api-secret-key "$(password)"
secret airflow-jwt-secret "$(password)"
secret airflow-sql-alchemy-conn "postgresql+psycopg2://airflow:$airflow@$host:$port/airflow?sslmode=verify-full"
secret airflow-sql-alchemy-conn-async "postgresql+psycopg://airflow:$airflow@$host:$port/airflow?sslmode=verify-full"
secret airflow-keda-connection "postgresql://airflow:$airflow@$host:$port/airflow?sslmode=verify-full"
secret airflow-result-backend "db+postgresql+psycopg2://celery:$celery@$host:$port/celery?sslmode=verify-full"
secret airflow-broker-url "rediss://:$key@$broker/0"
secret airflow-admin-password "$(password)"

# Step 5
CLIENT_ID=$(value identity create --resource-group "$name" --name "$name-pods" --query clientId)
export CLIENT_ID
pods=$(value identity show --resource-group "$name" --name "$name-pods" --query principalId)
again az role assignment create --role "Key Vault Secrets User" --assignee-object-id "$pods" \
  --assignee-principal-type ServicePrincipal --scope "$group/providers/Microsoft.KeyVault/vaults/$vault" > /dev/null
issuer=$(value aks show --resource-group "$name" --name "$name" --query oidcIssuerProfile.issuerUrl)
for account in airflow airflow-dags; do
  az identity federated-credential create --resource-group "$name" --identity-name "$name-pods" --name $account \
    --issuer "$issuer" --subject "system:serviceaccount:$NAMESPACE:$account" --audiences api://AzureADTokenExchange \
    > /dev/null
done
for manifest in "$manifests"/05_workload_identity/*.yaml; do apply "$manifest"; done
