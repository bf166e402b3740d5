"""Controllers at the door, ours and the published ones, behind the engine's `Admission` port."""
