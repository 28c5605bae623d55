"""The services that LocalStack's open edition has no provider for, and one whose provider needs a newer Python.

LocalStack knows the shape of every AWS API, and moto implements them. A provider is what joins the two.
"""

from localstack.services.plugins import Service, aws_provider


def served_by_moto(api):
    # Imported when the service is first asked for: LocalStack reads this module at its start.
    from localstack.aws.skeleton import Skeleton
    from localstack.aws.spec import load_service
    from localstack.services.moto import call_moto

    model = load_service(api)
    table = {operation: lambda context, _: call_moto(context) for operation in model.operation_names}
    return Service(api, skeleton=Skeleton(model, table))


@aws_provider(api="elbv2", name="default")
def elbv2():
    from fairlead_localstack.backend import install

    install()
    return served_by_moto("elbv2")


@aws_provider(api="sts", name="moto")
def sts():
    # LocalStack's own is written in the syntax of Python 3.12, and Debian 12 has 3.11.
    return served_by_moto("sts")
