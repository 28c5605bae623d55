"""Where moto's load balancers would mislead a client that starts over after a crash: they are made once, as AWS does."""

import copy

from moto.elbv2.exceptions import DuplicateListenerError, DuplicateLoadBalancerName, DuplicateTargetGroupName
from moto.elbv2.models import ELBv2Backend, elbv2_backends


class Backend(ELBv2Backend):
    # Beside this module moto looks for the URLs of the service.
    __module__ = ELBv2Backend.__module__

    def create_load_balancer(self, name, tags=None, **settings):
        asked = copy.deepcopy((settings, tags))
        for balancer in self.load_balancers.values():
            if balancer.name == name:
                return same(balancer, asked, DuplicateLoadBalancerName)
        balancer = super().create_load_balancer(name, **settings)
        if balancer.type == "network":
            del self.load_balancers[balancer.arn]
            balancer.arn = balancer.arn.replace("loadbalancer/app/", "loadbalancer/net/")
            self.load_balancers[balancer.arn] = balancer
        self.tagging_service.tag_resource(balancer.arn, tags)
        balancer.asked = asked
        return balancer

    def create_target_group(self, name, **settings):
        asked = copy.deepcopy(settings)
        for group in self.target_groups.values():
            if group.name == name:
                return same(group, asked, DuplicateTargetGroupName)
        group = super().create_target_group(name, **settings)
        group.asked = asked
        return group

    def create_listener(self, load_balancer_arn, port, **settings):
        asked = copy.deepcopy(settings)
        balancer = self.load_balancers.get(load_balancer_arn)
        for listener in balancer.listeners.values() if balancer else ():
            if str(listener.port) == str(port):
                return same(listener, asked, DuplicateListenerError)
        listener = super().create_listener(load_balancer_arn, port=port, **settings)
        listener.asked = asked
        return listener


def same(existing, asked, error):
    """What is there, if it was asked for in the same words."""
    if existing.asked != asked:
        raise error()
    return existing


def install():
    """For every account: moto makes what it keeps of one when the account is first used."""
    elbv2_backends.backend = Backend
    elbv2_backends.clear()
