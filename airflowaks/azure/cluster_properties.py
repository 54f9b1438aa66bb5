"""What an update of an AKS cluster sends back: all writable properties, so that those of other tools survive.

Source: managedClusters.json of api-version 2026-08-01, without what it calls readOnly, and without the pools'
`nodeImageVersion`: since 2026-04-01 setting it "triggers an agentPool rollback".
"""

from __future__ import annotations

_CLUSTER = """
    kubernetesVersion dnsPrefix fqdnSubdomain linuxProfile windowsProfile servicePrincipalProfile nodeResourceGroup
    nodeResourceGroupProfile enableRBAC supportPlan enableFIPS aadProfile autoUpgradeProfile upgradeSettings
    autoScalerProfile apiServerAccessProfile diskEncryptionSetID identityProfile disableLocalAccounts httpProxyConfig
    securityProfile storageProfile publicNetworkAccess workloadAutoScalerProfile azureMonitorProfile serviceMeshProfile
    metricsProfile nodeProvisioningProfile bootstrapProfile aiToolchainOperatorProfile schedulerProfile
    hostedSystemProfile ingressProfile.gatewayAPI
    addonProfiles.*.enabled addonProfiles.*.config oidcIssuerProfile.enabled
"""
_POOL = """
    name count vmSize osDiskSizeGB osDiskType kubeletDiskType workloadRuntime messageOfTheDay vnetSubnetID podSubnetID
    podIPAllocationMode maxPods osType osSKU maxCount minCount enableAutoScaling scaleDownMode type mode
    orchestratorVersion upgradeSettings powerState availabilityZones enableNodePublicIP nodePublicIPPrefixID
    scaleSetPriority scaleSetEvictionPolicy spotMaxPrice tags nodeLabels nodeTaints proximityPlacementGroupID
    kubeletConfig linuxOSConfig enableEncryptionAtHost enableUltraSSD enableFIPS gpuInstanceProfile creationData
    capacityReservationGroupID hostGroupID networkProfile windowsProfile securityProfile gpuProfile gatewayProfile
    artifactStreamingProfile virtualMachinesProfile virtualMachineNodesStatus localDNSProfile.mode
    localDNSProfile.vnetDNSOverrides localDNSProfile.kubeDNSOverrides
"""
_NETWORK = """
    networkPlugin networkPluginMode networkPolicy networkMode networkDataplane advancedNetworking podCidr serviceCidr
    dnsServiceIP outboundType loadBalancerSku staticEgressGatewayProfile podCidrs serviceCidrs ipFamilies
"""
_LOAD_BALANCER = """
    managedOutboundIPs outboundIPPrefixes outboundIPs allocatedOutboundPorts idleTimeoutInMinutes
    enableMultipleStandardLoadBalancers backendPoolType
"""
_NAT_GATEWAY = "sku managedOutboundIPProfile outboundIPPrefixes outboundIPs idleTimeoutInMinutes"
_POD_IDENTITY = """
    enabled allowNetworkPluginKubenet userAssignedIdentityExceptions userAssignedIdentities[].name
    userAssignedIdentities[].namespace userAssignedIdentities[].bindingSelector userAssignedIdentities[].identity
"""
_ROUTING = "enabled gatewayAPIImplementations dnsZoneResourceIds nginx"
_LINKS = "id name type groupId requiredMembers"

WRITABLE = tuple(
    f"{parent}{name}"
    for parent, names in {
        "": "location tags sku extendedLocation kind",
        "properties.": _CLUSTER,
        "properties.agentPoolProfiles[].": _POOL,
        "properties.networkProfile.": _NETWORK,
        "properties.networkProfile.loadBalancerProfile.": _LOAD_BALANCER,
        "properties.networkProfile.natGatewayProfile.": _NAT_GATEWAY,
        "properties.podIdentityProfile.": _POD_IDENTITY,
        "properties.ingressProfile.webAppRouting.": _ROUTING,
        "properties.privateLinkResources[].": _LINKS,
    }.items()
    for name in names.split()
)
"""Dotted paths, as `ArmResource.writable` takes them."""
