"""One claim each, in the folders of what they are about; `support/` is what they share."""
