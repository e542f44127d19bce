"""The adapter on a real Kubernetes 1.20, with no more rights than the chart gives.

Works beside other tests in the lab: everything lives in a namespace of its own, and the one node it
cordons is uncordoned within a second.
"""
