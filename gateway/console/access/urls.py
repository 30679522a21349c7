from django.urls import path

from gateway.console.access import (
    acts,
    agent_pages,
    client_pages,
    explain_page,
    key_pages,
    matrix_pages,
    workload_page,
)

urlpatterns = [
    path("agents/<uuid:agent_id>/", agent_pages.Overview.as_view(), name="agent_overview"),
    path("agents/<uuid:agent_id>/reach/", agent_pages.ReachOfAgent.as_view(), name="agent_reach"),
    path("agents/<uuid:agent_id>/setup/", agent_pages.SetUp.as_view(), name="agent_setup"),
    path("agents/<uuid:agent_id>/keys/new/", key_pages.IssueKey.as_view(), name="agent_issue_key"),
    path("agents/<uuid:agent_id>/keys/register/", key_pages.RegisterKey.as_view(), name="agent_register_key"),
    path("agents/<uuid:agent_id>/keys/workload/", workload_page.RegisterWorkload.as_view(), name="agent_workload"),
    path("agents/<uuid:agent_id>/keys/revoke/", key_pages.RevokeKeys.as_view(), name="agent_revoke_keys"),
    path("agents/<uuid:agent_id>/suspend/", acts.Suspend.as_view(), name="agent_suspend"),
    path("agents/<uuid:agent_id>/resume/", acts.Resume.as_view(), name="agent_resume"),
    path("agents/<uuid:agent_id>/freeze/", acts.Freeze.as_view(), name="agent_freeze"),
    path("agents/<uuid:agent_id>/unfreeze/", acts.Unfreeze.as_view(), name="agent_unfreeze"),
    path("agents/<uuid:agent_id>/transfer/", acts.Transfer.as_view(), name="agent_transfer"),
    path("agents/<uuid:agent_id>/retire/", acts.Retire.as_view(), name="agent_retire"),
    path("oauth-clients/new/", client_pages.AddClient.as_view(), name="oauth_client_new"),
    path("explain/", explain_page.Explain.as_view(), name="explain"),
    path("matrix/agents/", matrix_pages.Agents.as_view(), name="matrix_agents"),
    path("matrix/people/", matrix_pages.People.as_view(), name="matrix_people"),
    path("tools/<uuid:tool_id>/callers/", matrix_pages.Callers.as_view(), name="tool_callers"),
]
