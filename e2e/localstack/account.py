"""What an independent client sees and makes in the test account: boto3, the SDK that the aws CLI is made of.

Usage: start.sh python account.py describe            everything that a load balancer is made of, as one document
       start.sh python account.py call SERVICE METHOD  one call of boto3, with the parameters from standard input
       start.sh python account.py make-network         a VPC, from standard input: {"cluster", "zones", "instances"}
       start.sh python account.py remove-network VPC   and everything in it; fails where something else is left

Prints JSON. What AWS refuses is {"refused": {"code", "message", "status"}} and exit code 2. Endpoint, region and
credentials come from the usual environment variables.
"""

import datetime
import functools
import ipaddress
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)


@functools.cache
def client(service):
    return boto3.client(service, config=ONCE)


def every(service, method, key, **parameters):
    """All pages of a listing."""
    if client(service).can_paginate(method):
        pages = client(service).get_paginator(method).paginate(**parameters)
        return [item for page in pages for item in page[key]]
    return getattr(client(service), method)(**parameters)[key]


def pairs(items):
    return {item["Key"]: item["Value"] for item in items}


def elb(method, key, **parameters):
    return every("elbv2", method, key, **parameters)


def tags_of(arn):
    return pairs(elb("describe_tags", "TagDescriptions", ResourceArns=[arn])[0]["Tags"])


def described_listener(listener):
    arn = listener["ListenerArn"]
    listener["Tags"] = tags_of(arn)
    listener["Attributes"] = pairs(elb("describe_listener_attributes", "Attributes", ListenerArn=arn))
    if listener["Protocol"] == "TLS":
        listener["Certificates"] = elb("describe_listener_certificates", "Certificates", ListenerArn=arn)
    return listener


def described_load_balancer(balancer):
    arn = balancer["LoadBalancerArn"]
    balancer["Tags"] = tags_of(arn)
    balancer["Attributes"] = pairs(elb("describe_load_balancer_attributes", "Attributes", LoadBalancerArn=arn))
    listeners = elb("describe_listeners", "Listeners", LoadBalancerArn=arn)
    balancer["Listeners"] = [described_listener(listener) for listener in sorted(listeners, key=lambda it: it["Port"])]
    return balancer


def described_target_group(group):
    arn = group["TargetGroupArn"]
    group["Tags"] = tags_of(arn)
    group["Attributes"] = pairs(elb("describe_target_group_attributes", "Attributes", TargetGroupArn=arn))
    health = elb("describe_target_health", "TargetHealthDescriptions", TargetGroupArn=arn)
    group["Targets"] = sorted(health, key=lambda it: (it["Target"]["Id"], it["Target"].get("Port", 0)))
    return group


def described_security_group(group):
    group["Tags"] = pairs(group.get("Tags", []))
    return group


def describe():
    """The account without what every VPC has by itself: the security groups named default."""
    balancers = elb("describe_load_balancers", "LoadBalancers")
    groups = elb("describe_target_groups", "TargetGroups")
    security_groups = every("ec2", "describe_security_groups", "SecurityGroups")
    interfaces = every("ec2", "describe_network_interfaces", "NetworkInterfaces")
    return {
        "LoadBalancers": [
            described_load_balancer(balancer) for balancer in sorted(balancers, key=lambda it: it["LoadBalancerName"])
        ],
        "TargetGroups": [
            described_target_group(group) for group in sorted(groups, key=lambda it: it["TargetGroupName"])
        ],
        "SecurityGroups": [
            described_security_group(group)
            for group in sorted(security_groups, key=lambda it: it["GroupName"])
            if group["GroupName"] != "default"
        ],
        "NetworkInterfaces": [
            interface for interface in interfaces if interface.get("Description", "").startswith("ELB ")
        ],
    }


def tagged(kind, tags):
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def make_network(cluster, zones=3, instances=0):
    """A VPC of both families with a public and a private subnet in each zone, as eksctl and others make them for a cluster."""
    ec2 = client("ec2")
    shared = {f"kubernetes.io/cluster/{cluster}": "shared"}
    owned = {f"kubernetes.io/cluster/{cluster}": "owned"}
    vpc = ec2.create_vpc(
        CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True, TagSpecifications=tagged("vpc", shared)
    )["Vpc"]["VpcId"]
    described = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
    ipv6 = described["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]

    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    routes = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=routes, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.create_route(RouteTableId=routes, DestinationIpv6CidrBlock="::/0", GatewayId=gateway)

    ipv4_blocks = ipaddress.ip_network("10.0.0.0/16").subnets(new_prefix=20)
    ipv6_blocks = ipaddress.ip_network(ipv6).subnets(new_prefix=64)

    def make_subnet(zone, role):
        return ec2.create_subnet(
            VpcId=vpc,
            AvailabilityZone=zone,
            CidrBlock=str(next(ipv4_blocks)),
            Ipv6CidrBlock=str(next(ipv6_blocks)),
            TagSpecifications=tagged("subnet", shared | {role: "1"}),
        )["Subnet"]["SubnetId"]

    names = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]][:zones]
    made = []
    for name in names:
        public = make_subnet(name, "kubernetes.io/role/elb")
        ec2.associate_route_table(RouteTableId=routes, SubnetId=public)
        made.append({"name": name, "public": public, "private": make_subnet(name, "kubernetes.io/role/internal-elb")})

    nodes = ec2.create_security_group(
        GroupName=f"{cluster}-nodes",
        Description="the nodes of a cluster",
        VpcId=vpc,
        TagSpecifications=tagged("security-group", owned),
    )["GroupId"]
    return {
        "vpc": vpc,
        "ipv4": "10.0.0.0/16",
        "ipv6": ipv6,
        "zones": made,
        "node_security_group": nodes,
        "instances": [make_instance(made[index % len(made)], nodes, owned) for index in range(instances)],
    }


def make_instance(zone, security_group, tags):
    ec2 = client("ec2")
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]["ImageId"]
    instance = ec2.run_instances(
        ImageId=image,
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        SubnetId=zone["private"],
        SecurityGroupIds=[security_group],
        TagSpecifications=tagged("instance", tags),
    )["Instances"][0]
    return {"id": instance["InstanceId"], "zone": zone["name"], "address": instance["PrivateIpAddress"]}


def remove_network(vpc):
    ec2 = client("ec2")
    inside = {"Filters": [{"Name": "vpc-id", "Values": [vpc]}]}
    for reservation in ec2.describe_instances(**inside)["Reservations"]:
        ec2.terminate_instances(InstanceIds=[instance["InstanceId"] for instance in reservation["Instances"]])
    for table in ec2.describe_route_tables(**inside)["RouteTables"]:
        if not any(association.get("Main") for association in table["Associations"]):
            for association in table["Associations"]:
                ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
            ec2.delete_route_table(RouteTableId=table["RouteTableId"])
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    for gateway in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
        ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
        ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    for group in ec2.describe_security_groups(**inside)["SecurityGroups"]:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    for subnet in ec2.describe_subnets(**inside)["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=vpc)
    return {}


def call(service, method):
    answer = getattr(client(service), method)(**json.load(sys.stdin))
    answer.pop("ResponseMetadata")
    return answer


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(type(value))


def main(command, *arguments):
    commands = {
        "describe": describe,
        "call": call,
        "make-network": lambda: make_network(**json.load(sys.stdin)),
        "remove-network": remove_network,
    }
    try:
        answer, status = commands[command](*arguments), 0
    except ClientError as error:
        said = error.response["Error"]
        answer, status = (
            {
                "refused": {
                    "code": said["Code"],
                    "message": said["Message"],
                    "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
                }
            },
            2,
        )
    json.dump(answer, sys.stdout, default=plain)
    sys.stdout.flush()
    # An orderly end of the interpreter takes longer than the call.
    os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
