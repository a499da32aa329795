"""The claims of the survey, by idea."""
